"""The ONNX Runtime runner: names from the contract. Broken repositories, which OpenVINO's refuses, too."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from packshot.contract import GRAPHS, Graph
from packshot.errors import RepositoryError
from packshot.family import Manifest
from packshot_serving.engine import Engine
from packshot_serving.engine.batch_step import repeatable_step
from packshot_serving.engine.capacity import synthetic_slot
from packshot_serving.engine.onnx_runner import OnnxStepRunner, Shrinking
from packshot_serving.engine.openvino_runner import OpenVinoStepRunner
from tests.integration.processes import resident_bytes

_TYPES = {"FP32": onnx.TensorProto.FLOAT, "INT64": onnx.TensorProto.INT64, "UINT8": onnx.TensorProto.UINT8}


def save(directory, graph: Graph, nodes, initializers=()) -> None:
    """A graph with the contract's inputs and outputs and these nodes in between."""
    sides = [
        [
            onnx.helper.make_tensor_value_info(t.name, _TYPES[t.dtype], [str(dim) for dim in t.dims])
            for t in side
        ]
        for side in (graph.inputs, graph.outputs)
    ]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, graph.name, *sides, list(initializers)),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(model, directory / f"{graph.name}.onnx")


@pytest.fixture
def repository(tmp_path):
    """A step that computes transition @ state, an embedding that repeats every eighth pixel."""
    node = onnx.helper.make_node
    tensor = onnx.numpy_helper.from_array
    save(
        tmp_path,
        GRAPHS["step"],
        [node("Einsum", ["transition", "state"], ["next_state"], equation="bij,bjchw->bichw")],
    )
    save(
        tmp_path,
        GRAPHS["control_embedding"],
        [
            node("Slice", ["control_image", "starts", "ends", "axes", "strides"], ["small"]),
            node("Cast", ["small"], ["float"], to=onnx.TensorProto.FLOAT),
            node("Unsqueeze", ["float", "channel"], ["one"]),
            node("Concat", ["one"] * 3, ["control_embedding"], axis=2),
        ],
        [
            tensor(np.array([0, 0], np.int64), "starts"),
            tensor(np.array([4096, 4096], np.int64), "ends"),
            tensor(np.array([2, 3], np.int64), "axes"),
            tensor(np.array([8, 8], np.int64), "strides"),
            tensor(np.array([2], np.int64), "channel"),
        ],
    )
    return tmp_path


def test_the_engine_runs_on_onnx_runtime(repository, family, make_request, new_answer):
    runner = OnnxStepRunner(repository, intra_op_num_threads=1)
    request = make_request(num_inference_steps=3)
    embedding = runner.embed_control(request.control_image)
    np.testing.assert_array_equal(embedding[:, 1], request.control_image[:, ::8, ::8])
    answer = new_answer()
    with Engine(runner, family) as engine:
        engine.submit(request, answer)
        assert np.isfinite(answer.latents()).all()


@pytest.mark.parametrize("runner", [OnnxStepRunner, OpenVinoStepRunner])
def test_a_missing_graph_is_named(repository, runner):
    (repository / "step.onnx").unlink()
    with pytest.raises(RepositoryError, match=r"step\.onnx: missing"):
        runner(repository)


@pytest.mark.parametrize(
    ("runner", "graph", "library"),
    [
        (OnnxStepRunner, "control_embedding", "ONNX Runtime"),
        (OnnxStepRunner, "step", "ONNX Runtime"),
        (OpenVinoStepRunner, "step", "OpenVINO"),
    ],
)
def test_a_broken_graph_is_named(repository, runner, graph, library):
    (repository / f"{graph}.onnx").write_bytes(b"not a graph")
    with pytest.raises(RepositoryError, match=rf"{graph}\.onnx: {library} cannot load it"):
        runner(repository)


@pytest.mark.parametrize("runner", [OnnxStepRunner, OpenVinoStepRunner])
def test_a_graph_with_other_tensors_than_the_contract_s_is_refused(repository, runner):
    graph = GRAPHS["step"]
    fewer = Graph("step", graph.inputs[:3], graph.outputs)
    save(repository, fewer, [onnx.helper.make_node("Identity", ["state"], ["next_state"])])
    with pytest.raises(RepositoryError, match="inputs: got gain, state, transition, expected"):
        runner(repository)


@pytest.mark.parametrize(
    ("sizes", "shrinks"),
    [
        ([300] + [100] * 64, [64]),
        ([300] + [101] * 200, []),
        ([300] + [100] * 63 + [300] + [100] * 63, []),
        ([900] + [300] * 64 + [100] * 64, [64, 128]),
        ([100] * 200, []),
    ],
)
def test_memory_is_given_back_once_steps_have_been_much_smaller_for_long(sizes, shrinks):
    shrinking = Shrinking()
    assert [number for number, size in enumerate(sizes) if shrinking.due(size)] == shrinks


def test_a_large_pictures_memory_is_given_back():
    directory = Path("model_repository")
    family = Manifest.read(directory).family
    runner = OnnxStepRunner(directory / "denoiser" / "1")
    large, small = (repeatable_step(runner, [synthetic_slot(runner, family, side)]) for side in (1024, 64))
    small()
    before = resident_bytes(os.getpid())
    large()
    most = resident_bytes(os.getpid())
    assert most - before > 300e6
    for _ in range(64):
        small()
    assert resident_bytes(os.getpid()) - before < 0.2 * (most - before)


def test_the_second_step_takes_no_more_memory_than_the_first():
    directory = Path("model_repository")
    runner = OnnxStepRunner(directory / "denoiser" / "1")
    step = repeatable_step(runner, [synthetic_slot(runner, Manifest.read(directory).family, 1024)])
    before = resident_bytes(os.getpid())
    step()
    most = resident_bytes(os.getpid())
    assert most - before > 300e6
    step()
    assert resident_bytes(os.getpid()) - most < 0.2 * (most - before)
