"""Exported graphs: what the contract says, and what the originals answer."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from packshot.contract import ARTIFACTS, GRAPHS, TOKENIZER_FILE
from packshot.errors import ExportError
from packshot.family import Canvas, Manifest
from packshot_export import parity
from packshot_export.axes import random_inputs
from packshot_export.components import components
from packshot_export.onnx_graph import write_graph
from tests.export.conftest import parts_of

DTYPES = {
    "UINT8": onnx.TensorProto.UINT8,
    "INT64": onnx.TensorProto.INT64,
    "FP32": onnx.TensorProto.FLOAT,
}


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", GRAPHS)
def test_no_path_of_the_exporting_machine_is_left_in_a_graph(family, name):
    content = (family[1] / ARTIFACTS[name]).read_bytes()
    for trace in (b"site-packages", b"packshot_export", b".py"):
        assert trace not in content


@pytest.mark.parametrize("name", GRAPHS)
def test_names_dtypes_and_axes_are_the_contracts(family, name):
    _, repository = family
    dims = Manifest.read(repository).family.dims
    graph = onnx.load(repository / ARTIFACTS[name], load_external_data=False).graph
    for values, tensors in ((graph.input, GRAPHS[name].inputs), (graph.output, GRAPHS[name].outputs)):
        assert [value.name for value in values] == [tensor.name for tensor in tensors]
        for value, tensor in zip(values, tensors, strict=True):
            assert value.type.tensor_type.elem_type == DTYPES[tensor.dtype]
            axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            assert axes == [dims.get(axis, axis) for axis in tensor.dims]


def test_the_step_takes_rows_as_cuda_graphs_can_repeat_it(family):
    """See Step: of GatherND they cannot, in many an ONNX Runtime."""
    graph = onnx.load(family[1] / ARTIFACTS["step"], load_external_data=False).graph
    kinds = {node.op_type for node in graph.node}
    assert "Gather" in kinds
    assert "GatherND" not in kinds


class Undecided(torch.nn.Module):
    """Goes one way or another by what its input holds, which no graph can."""

    def forward(self, latents):
        return {"image": latents if latents.sum() > 0 else -latents}


def test_layers_that_torch_cannot_trace_are_told_in_one_line(tmp_path):
    dims, graph = {"C": 4}, GRAPHS["vae_decoder"]
    example = random_inputs(graph, dims, {"B": 2, "h": 8, "w": 16}, 8)
    with pytest.raises(ExportError) as told:
        write_graph(Undecided().eval(), example, graph, dims, Canvas(), tmp_path / "model.onnx")
    assert str(told.value).startswith("vae_decoder: layers of this checkpoint cannot be exported: ")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "model.onnx").exists()


def test_random_inputs_do_not_depend_on_where_torch_would_put_them(family):
    dims, sizes = Manifest.read(family[1]).family.dims, {"B": 1, "R": 2, "P": 2, "m": 2, "h": 8, "w": 8}
    wanted = random_inputs(GRAPHS["step"], dims, sizes, 8)
    with torch.device("meta"):
        found = random_inputs(GRAPHS["step"], dims, sizes, 8)
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_every_graph_answers_as_the_originals(family):
    checkpoints, repository = family
    checked = 0
    with torch.no_grad():
        for component in components(parts_of(checkpoints)):
            name = component.graph.name
            assert parity.check(name, repository / ARTIFACTS[name], component.cases(), "fp32")
            checked += 1
    assert checked == len(GRAPHS)


def test_the_manifest_lists_and_proves_every_artifact(family):
    _, repository = family
    manifest = Manifest.read(repository)
    manifest.verify(repository)
    assert set(manifest.artifacts) == {*ARTIFACTS.values(), TOKENIZER_FILE}
    assert manifest.checkpoints["controlnet.0"].license == "apache-2.0"
    assert manifest.exporters["torch"] == importlib.metadata.version("torch")


def test_a_batch_of_photos_and_prompts_gives_one_answer_each(family):
    """B photos with B prompts give B answers, each the same as alone."""
    _, repository = family
    dims = Manifest.read(repository).family.dims
    decoder = session(repository / ARTIFACTS["sam_decoder"])
    inputs = random_inputs(GRAPHS["sam_decoder"], dims, {"B": 3, "N": 2}, 8)
    inputs["point_coords"] = torch.rand(3, 2, 2) * dims["S"]
    inputs["point_labels"] = torch.tensor([[1, -1], [2, 3], [0, 1]])
    feeds = {name: value.numpy() for name, value in inputs.items()}
    together = decoder.run(None, feeds)
    assert [output.shape[0] for output in together] == [3, 3]
    for slot in range(3):
        alone = decoder.run(None, {name: value[slot : slot + 1] for name, value in feeds.items()})
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a[0], b[slot], atol=1e-4)


@pytest.mark.parametrize(("h", "w"), [(8, 8), (33, 25), (9, 128)])
def test_a_slot_of_the_step_is_independent_of_its_neighbours(family, h, w):
    _, repository = family
    dims = Manifest.read(repository).family.dims
    step = session(repository / ARTIFACTS["step"])
    inputs = random_inputs(GRAPHS["step"], dims, {"B": 2, "R": 3, "P": 2, "m": 2, "h": h, "w": w}, 8)
    inputs["timesteps"] = torch.tensor([999.0, 1.0])
    inputs["row_slot"] = torch.tensor([0, 1, 0])
    inputs["cond_row"] = torch.tensor([2, 1])
    inputs["uncond_row"] = torch.tensor([0, 1])
    inputs["control_row"] = torch.tensor([1, 0])
    inputs["row_residual"] = torch.tensor([2, 1, 0])
    (together,) = step.run(None, {name: value.numpy() for name, value in inputs.items()})
    second = {name: value[1:2].numpy() for name, value in inputs.items()}
    second |= {name: np.zeros(1, np.int64) for name in ("row_slot", "cond_row", "uncond_row", "control_row")}
    second["row_residual"] = np.ones(1, np.int64)
    (alone,) = step.run(None, second)
    np.testing.assert_allclose(alone[0], together[1], atol=1e-4)


@pytest.mark.parametrize("controlled", [[], [0], [1, 2], [0, 1, 2]], ids=["none", "one", "two", "all"])
def test_rows_without_controlnet_work_are_as_if_the_controlnets_weighed_nothing(family, controlled):
    _, repository = family
    dims = Manifest.read(repository).family.dims
    step = session(repository / ARTIFACTS["step"])
    sizes = {"B": 3, "R": 5, "P": 5, "m": 2, "h": 9, "w": 13}
    inputs = {name: value.numpy() for name, value in random_inputs(GRAPHS["step"], dims, sizes, 8).items()}
    inputs["timesteps"] = np.array([999, 500, 1], np.float32)
    inputs["row_slot"] = np.array([0, 1, 2, 0, 2])
    inputs["cond_row"], inputs["uncond_row"] = np.array([0, 1, 2]), np.array([3, 1, 4])
    scale = np.zeros((3, dims["K"]), np.float32)
    scale[controlled] = 0.8
    inputs["controlnet_conditioning_scale"] = scale
    everywhere = {"control_row": np.arange(5), "row_residual": np.arange(1, 6)}
    rows = np.flatnonzero(np.isin(inputs["row_slot"], controlled))
    where_needed = {"control_row": rows, "row_residual": np.zeros(5, np.int64)}
    where_needed["row_residual"][rows] = np.arange(1, len(rows) + 1)
    (full,), (economical,) = (step.run(None, {**inputs, **some}) for some in (everywhere, where_needed))
    np.testing.assert_allclose(economical, full, rtol=0, atol=1e-5 * np.abs(full).max())
    (uncontrolled,) = step.run(
        None, {**inputs, "control_row": rows[:0], "row_residual": np.zeros(5, np.int64)}
    )
    for slot in range(3):
        differs = np.abs(full[slot] - uncontrolled[slot]).max() > 1e-3 * np.abs(full).max()
        assert differs == (slot in controlled), "the weights that are not 0 do matter"
