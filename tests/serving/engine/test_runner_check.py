"""A runner that computes nothing any more ends the engine; requests that break it do not."""

from __future__ import annotations

import threading

import pytest

from packshot.errors import InternalError, Unavailable
from packshot_serving.engine import Engine
from packshot_serving.engine.runner_check import FUTILE_TURNS


@pytest.fixture
def fail(new_answer):
    def submit_and_await_failures(engine, requests):
        for request in requests:
            answer = new_answer()
            engine.submit(request, answer)
            assert isinstance(answer.error(), InternalError)

    return submit_and_await_failures


@pytest.mark.parametrize("method", ["embed_control", "step"])
def test_a_lost_device_ends_the_engine(family, runner, make_request, new_answer, fail, caplog, method):
    def lost(given):
        raise RuntimeError("CUDA error 719: unspecified launch failure")

    working, dead = new_answer(), threading.Event()
    with Engine(runner, family, on_death=dead.set) as engine:
        engine.submit(make_request(), working)
        working.latents()
        setattr(runner, method, lost)
        fail(engine, [make_request(seed) for seed in range(FUTILE_TURNS)])
        assert dead.wait(20), "it goes on failing every request"
        with pytest.raises(Unavailable, match="has died"):
            engine.submit(make_request(), new_answer())
    assert "trying the smallest picture" in caplog.text


def test_pictures_too_large_for_the_memory_end_nothing(family, runner, make_request, new_answer, fail):
    def poison(batch):
        if batch.state.shape[-1] > 2:
            raise MemoryError

    runner.poison = poison
    answer = new_answer()
    with Engine(runner, family) as engine:
        fail(engine, [make_request(seed) for seed in range(2 * FUTILE_TURNS)])
        engine.submit(make_request(size=(16, 16)), answer)
        answer.latents()
        assert engine.alive


def test_somebody_who_gets_further_is_proof_enough(family, runner, make_request, new_answer, fail):
    """Futile turns count in a row only: here is always somebody else whose step succeeds."""

    def poison(batch):
        if batch.state.shape[-1] == 2:
            raise RuntimeError("the smallest picture is what fails")

    runner.poison = poison
    with Engine(runner, family) as engine:
        for seed in range(2 * FUTILE_TURNS):
            answer = new_answer()
            fail(engine, [make_request(seed, size=(16, 16))])
            engine.submit(make_request(seed, num_inference_steps=1), answer)
            answer.latents()
        assert engine.alive
