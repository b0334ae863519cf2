"""Weights that were published in half precision take half the bytes, and give the same answers to the bit."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxscript import ir
from torch import nn

from packshot_export.half_weights import store_in_half

# torch deprecates what its own exporter uses.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


def exported(module, path, stored):
    """The graph of a module on disk, and what it answers."""
    x = torch.linspace(-2, 2, 32 * 3)[None].reshape(1, 3, 32)
    program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    if stored:
        store_in_half(program.model.graph)
    program.save(path)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path)
    (answer,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return answer


def small(half):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 48)).eval()
    return module.half().float() if half else module


def test_the_file_is_half_as_large_and_the_answer_the_same(tmp_path):
    module = small(half=True)
    plain = exported(module, tmp_path / "plain.onnx", stored=False)
    halved = exported(module, tmp_path / "half.onnx", stored=True)
    assert np.array_equal(plain, halved)
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("plain", "half")]
    assert sizes[1] < 0.65 * sizes[0]


def test_the_runtime_widens_them_once_when_it_loads(tmp_path):
    exported(small(half=True), tmp_path / "half.onnx", stored=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(tmp_path / "half.onnx", options)
    assert "Cast" not in {node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node}


def test_weights_that_need_fp32_keep_it(tmp_path):
    module = small(half=False)
    answer = exported(module, tmp_path / "weights.onnx", stored=True)
    graph = ir.load(tmp_path / "weights.onnx").graph
    assert {value.const_value.dtype for value in graph.initializers.values()} == {ir.DataType.FLOAT}
    assert np.array_equal(answer, exported(module, tmp_path / "plain.onnx", stored=False))


def test_what_fp16_cannot_hold_is_not_rounded_to_infinity(tmp_path):
    module = small(half=True)
    with torch.no_grad():
        module[0].weight[0, 0] = 1e6
    exported(module, tmp_path / "weights.onnx", stored=True)
    kept = [
        v
        for v in ir.load(tmp_path / "weights.onnx").graph.initializers.values()
        if v.const_value.size == 2048
    ]
    assert [value.const_value.dtype for value in kept] == [ir.DataType.FLOAT]
