"""fp16: weights and arithmetic inside, the same inputs and outputs, a looser tolerance."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from packshot.contract import ARTIFACTS, GRAPHS
from packshot_export.components import components
from packshot_export.export import export_component
from packshot_export.families import SPECS
from tests.export.conftest import made, parts_of

#: The rest is made of the same layers, and takes its time.
TRACED = ("text_encoder", "step")


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Some graphs of a shallow SD2-shaped family in fp16, and what their proofs say."""
    directory = tmp_path_factory.mktemp("fp16")
    shallow = replace(SPECS["tiny-sd2"], block_out_channels=(8, 16), attention_head_dim=(1, 2))
    parts = parts_of(made(shallow, directory / "checkpoints"), precision="fp16")
    proofs = {}
    for component in components(parts):
        if component.graph.name in TRACED:
            proofs[component.graph.name] = export_component(component, directory, parts).differences
    return directory, proofs


@pytest.mark.parametrize("name", TRACED)
def test_graphs_in_fp16_are_close_to_the_originals_in_fp32(half, name):
    _, proofs = half
    for difference in proofs[name]:
        assert difference.greatest <= difference.tolerance


@pytest.mark.parametrize("name", TRACED)
def test_weights_are_fp16_and_tensors_of_the_contract_are_not(half, name):
    directory, _ = half
    graph = onnx.load(directory / ARTIFACTS[name]).graph
    sizes = {onnx.TensorProto.FLOAT: 0, onnx.TensorProto.FLOAT16: 0}
    for weight in graph.initializer:
        if weight.data_type in sizes:
            sizes[weight.data_type] += len(weight.raw_data)
    assert sizes[onnx.TensorProto.FLOAT16] > 10 * sizes[onnx.TensorProto.FLOAT]
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT16
    assert len(graph.input) == len(GRAPHS[name].inputs)
