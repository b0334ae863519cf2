"""One request's failure is its own; a dead engine answers everybody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from packshot.errors import InternalError, InvalidArgument, Unavailable
from packshot.family import Family
from packshot_serving.engine import Engine, Observer


@pytest.fixture
def with_scheduler(family: Family) -> Callable[..., Family]:
    """The family with other scheduler options."""
    return lambda **options: replace(family, scheduler={**family.scheduler, **options})


@pytest.fixture
def three(family, gated, make_request, new_answer):
    """Three requests that will share their second step, and their answers."""
    requests = [make_request(seed, num_inference_steps=4) for seed in range(3)]
    answers = [new_answer() for _ in requests]
    with Engine(gated, family) as engine:
        engine.submit(requests[0], answers[0])
        gated.await_step()
        for request, answer in list(zip(requests, answers, strict=True))[1:]:
            engine.submit(request, answer)
        yield requests, answers, engine
        gated.open()
    assert [answer.calls for answer in answers] == [1, 1, 1]


def row_of(batch, request) -> int | None:
    """Where a request stands in a batch: its prompt tells."""
    for row, text in enumerate(batch.encoder_hidden_states[: batch.num_slots]):
        if np.array_equal(text, request.prompt_embeds):
            return row
    return None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_no_number_fails_its_own_request_only(
    family, gated, make_request, new_answer, three, value
):
    requests, answers, engine = three

    def spoil(batch, next_state):
        if (row := row_of(batch, requests[1])) is not None:
            next_state[row, 1, 0, 0, 0] = value

    gated.spoil = spoil
    gated.open()
    error = answers[1].error()
    assert isinstance(error, InternalError)
    assert "NaN or infinite at step 1 of 4" in str(error)
    for index in (0, 2):
        np.testing.assert_allclose(answers[index].latents(), make_request.alone(requests[index]), rtol=1e-4)
    assert engine.alive


def test_a_request_that_breaks_the_runner_fails_alone(gated, make_request, three, caplog):
    requests, answers, engine = three

    def poison(batch):
        if row_of(batch, requests[2]) is not None:
            raise MemoryError("no memory for this one")

    gated.poison = poison
    gated.open()
    error = answers[2].error()
    assert isinstance(error, InternalError)
    assert "step 1 of 4" in str(error)
    assert "no memory" not in str(error), "internals belong in the log"
    assert "request-2" in caplog.text
    assert "no memory for this one" in caplog.text
    for index in (0, 1):
        np.testing.assert_allclose(answers[index].latents(), make_request.alone(requests[index]), rtol=1e-4)
    assert engine.alive


def test_a_runner_that_fails_once_fails_nobody(gated, make_request, three):
    requests, answers, _ = three
    failures = iter([True])

    def poison(batch):
        if batch.num_slots == 3 and next(failures, False):
            raise RuntimeError("a hiccup")

    gated.poison = poison
    gated.open()
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_allclose(answer.latents(), make_request.alone(request), rtol=1e-4)


def test_a_runner_that_answers_another_shape_is_a_failure(family, runner, make_request, new_answer):
    class Short(type(runner)):
        def step(self, batch):
            return super().step(batch)[:, :1]

    answer = new_answer()
    with Engine(Short(), family) as engine:
        engine.submit(make_request(), answer)
        assert isinstance(answer.error(), InternalError)
        assert engine.alive


def test_an_embedding_that_fails_or_has_another_shape_is_the_caller_s_answer(
    family, runner, make_request, new_answer
):
    class Broken(type(runner)):
        def embed_control(self, control_image):
            raise RuntimeError("broken")

    for broken, message in (
        (Broken(), "embedding failed"),
        (type(runner)(num_channels=9), "control_embedding: got float32[2,9,4,3]"),
    ):
        answer = new_answer()
        with Engine(broken, family) as engine:
            engine.submit(make_request(), answer)
            error = answer.error()
            assert isinstance(error, InternalError)
            assert message in str(error)
            assert engine.alive
            assert engine.slots_in_use == 0


def test_a_scheduler_that_the_checkpoint_rules_out_is_the_caller_s_mistake(
    with_scheduler, runner, make_request, new_answer
):
    with (
        Engine(runner, with_scheduler(clip_sample=True)) as engine,
        pytest.raises(InvalidArgument, match=r"scheduler: .*clip_sample"),
    ):
        engine.submit(make_request(scheduler="ddim"), new_answer())


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_caller_whose_callback_raises_harms_nobody(family, runner, make_request, new_answer, caplog, error):
    def on_done(result):
        raise error("the caller is gone")

    answer = new_answer()
    with Engine(runner, family, max_slots=1) as engine:
        engine.submit(make_request(0, num_inference_steps=1), on_done)
        engine.submit(make_request(1, num_inference_steps=1), answer)
        answer.latents()
        assert engine.alive
    assert "request-0" in caplog.text


@pytest.mark.parametrize("method", ["started", "stepped", "ended"])
def test_an_observer_that_fails_harms_nobody(family, runner, make_request, new_answer, caplog, method):
    def fail(*args):
        raise RuntimeError("no metrics today")

    answer, observer = new_answer(), Observer()
    setattr(observer, method, fail)
    with Engine(runner, family, observer=observer) as engine:
        engine.submit(make_request(num_inference_steps=2), answer)
        answer.latents()
    assert "no metrics today" in caplog.text


def test_close_answers_what_runs_and_what_waits(family, gated, make_request, new_answer):
    running, joining, waiting = new_answer(), new_answer(), new_answer()
    engine = Engine(gated, family, max_slots=2)
    engine.submit(make_request(0), running)
    gated.await_step()
    engine.submit(make_request(1), joining)
    engine.submit(make_request(2), waiting)
    closing = threading.Thread(target=engine.close)
    closing.start()
    while engine.alive:
        pass
    gated.open()
    closing.join(20)
    assert not closing.is_alive()
    for answer in (running, joining, waiting):
        assert isinstance(answer.error(), Unavailable)
        assert answer.calls == 1
    assert len(gated.batches) == 1
    with pytest.raises(Unavailable, match="shutting down"):
        engine.submit(make_request(3), new_answer())
    engine.close()  # a second time does nothing


def test_a_callback_may_close_the_engine(family, runner, make_request):
    closed = threading.Event()

    def on_done(result):
        engine.close()
        closed.set()

    engine = Engine(runner, family)
    engine.submit(make_request(num_inference_steps=1), on_done)
    assert closed.wait(20)
    engine.close()
    assert not engine.alive


def test_a_dead_thread_answers_everybody_and_refuses_the_next(
    family, gated, make_request, new_answer, caplog
):
    answers, deaths = [new_answer(), new_answer()], []

    def on_death():
        deaths.append([answer.arrived for answer in answers])

    with caplog.at_level(logging.CRITICAL), Engine(gated, family, on_death=on_death) as engine:
        engine.submit(make_request(0), answers[0])
        gated.await_step()
        engine.submit(make_request(1), answers[1])

        def poison(batch):
            raise SystemExit("something calls exit()")

        gated.poison = poison
        gated.open()
        for answer in answers:
            assert isinstance(answer.error(), InternalError)
            assert "has died" in str(answer.error())
        assert not engine.alive
        assert engine.slots_in_use == 0
        with pytest.raises(Unavailable, match="has died"):
            engine.submit(make_request(2), new_answer())
    assert deaths == [[True, True]], "once, when everybody had been answered"
    assert "the denoising engine has died" in caplog.text
    assert "something calls exit()" in caplog.text


def test_no_thread_outlives_its_engine(family, runner, make_request, new_answer):
    before = threading.active_count()
    for seed in range(10):
        with Engine(runner, family) as engine:
            engine.submit(make_request(seed), new_answer())
    assert threading.active_count() == before
