"""The runner in bfloat16: nearly the same pictures, sooner."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import openvino
import pytest

from packshot.contract import ARTIFACTS
from packshot.errors import ServerStartError
from packshot.family import Manifest
from packshot_serving.engine import openvino_runner
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.openvino_runner import OpenVinoStepRunner, require_bf16
from tests.families import exported
from tests.processor import HAS_BF16
from tests.serving.engine.conftest import Requests
from tests.serving.engine.real_runners import answers, requests_of_every_kind
from tests.serving.engine.test_onnx_runner import repository

__all__ = ["repository"]


def errors(found, wanted):
    """Roots of the mean squared differences, as shares of the latents' own."""
    pairs = zip(found, wanted, strict=True)
    return [np.sqrt(np.square(a - b).mean() / np.square(b).mean()) for a, b in pairs]


@pytest.mark.parametrize("name", ["tiny-sd2", "tiny-sd15"])
def test_in_float32_the_engine_answers_what_it_answers_with_onnx_runtime(name, new_answer, monkeypatch):
    monkeypatch.setattr(openvino_runner, "_PRECISION", "f32")
    folder = exported(name)[1]
    graphs, family = (folder / ARTIFACTS["step"]).parent, Manifest.read(folder).family
    requests = requests_of_every_kind(family)
    runners = OpenVinoStepRunner(graphs, 1), OnnxStepRunner(graphs, 1)
    found, wanted = (answers(runner, family, requests, new_answer) for runner in runners)
    assert max(errors(found, wanted)) < 1e-4


@pytest.mark.skipif(not HAS_BF16, reason="this processor does not know bfloat16")
def test_in_bfloat16_a_step_is_nearly_the_same(new_answer):
    """One step without guidance: more of them, and random networks would make much of little."""
    folder = exported("tiny-sd2")[1]
    graphs, family = (folder / ARTIFACTS["step"]).parent, Manifest.read(folder).family
    ask = Requests(family)
    requests = [ask(seed, (64, 64), num_inference_steps=1, guidance_scale=1.0) for seed in range(3)]
    runners = OpenVinoStepRunner(graphs, 1), OnnxStepRunner(graphs, 1)
    found, wanted = (answers(runner, family, requests, new_answer) for runner in runners)
    assert max(errors(found, wanted)) < 0.06
    assert min(errors(found, wanted)) > 1e-5, "it was float32"


def test_a_step_s_answer_is_an_array_that_the_next_one_leaves_alone(
    repository, family, make_request, new_answer
):
    answered = []

    class Kept(OpenVinoStepRunner):
        def step(self, batch):
            state = super().step(batch)
            answered.append((state, state.copy()))
            return state

    answers(Kept(repository, 1), family, [make_request(num_inference_steps=4)], new_answer)
    assert len(answered) == 4
    for (state, then), (after, _) in itertools.pairwise(answered):
        np.testing.assert_array_equal(state, then)
        assert not np.shares_memory(state, after)


def test_nothing_is_sent_to_openvino_s_makers():
    code = (
        "from packshot_serving.engine.openvino_runner import capabilities; capabilities(); "
        "import sys; assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_processor_without_bfloat16_is_refused(monkeypatch):
    class Old:
        def get_property(self, *_):
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Old)
    with pytest.raises(
        ServerStartError, match="bf16: got a processor with FP32, INT8, expected one with BF16"
    ):
        require_bf16()


def test_without_openvino_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ServerStartError, match="pip install openvino"):
        require_bf16()
