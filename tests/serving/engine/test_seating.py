"""Who gets a slot that has become free, and who has none any more."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from packshot.errors import InternalError, Unavailable
from packshot_serving.engine import Engine, Policy


def test_what_waits_when_the_engine_closes_gets_no_slot(family, gated, make_request, new_answer):
    running, waiting = new_answer(), new_answer()
    engine = Engine(gated, family, max_slots=1)
    engine.submit(make_request(1, num_inference_steps=1), running)
    gated.await_step()
    engine.submit(make_request(2, num_inference_steps=3), waiting)
    closing = threading.Thread(target=engine.close, kwargs={"drain_s": 60.0})
    closing.start()
    while engine.alive:
        pass
    gated.open()
    closing.join()
    assert running.latents() is not None
    assert isinstance(waiting.error(), Unavailable)
    assert len(gated.batches) == 1


def test_what_has_waited_in_vain_gets_no_slot(family, gated, make_request, new_answer):
    now = [0.0]
    running, waiting = new_answer(), new_answer()
    with Engine(gated, family, max_slots=1, clock=lambda: now[0]) as engine:
        engine.submit(make_request(1, num_inference_steps=1), running)
        gated.await_step()
        engine.submit(replace(make_request(2, num_inference_steps=3), timeout_s=1.0), waiting)
        now[0] = 2.0
        gated.open()
        assert isinstance(waiting.error(), Unavailable)
        assert running.latents() is not None
    assert len(gated.batches) == 1


def test_a_refused_request_leaves_no_gap_in_the_queue(family, gated, make_request, new_answer):
    policy = Policy(max_slots=1, max_queue_size=1)
    with Engine(gated, family, policy=policy) as engine:
        engine.submit(make_request(1, num_inference_steps=1), new_answer())
        gated.await_step()
        engine.submit(make_request(2, num_inference_steps=1), new_answer())
        ticket = engine.submit(make_request(3, num_inference_steps=1, priority=2), new_answer())
        assert ticket.progress.queue_position == 2
        with pytest.raises(Unavailable):
            engine.submit(make_request(4, num_inference_steps=1), new_answer())
        assert ticket.progress.queue_position == 2
        gated.open()


def test_one_that_breaks_the_runner_makes_nobody_else_careful(family, gated, make_request, new_answer):
    def poison(batch):
        if (batch.guidance_scale == np.float32(3.0)).any():
            raise RuntimeError("poison")

    gated.poison = poison
    answers = [new_answer() for _ in range(7)]
    with Engine(gated, family, max_slots=8) as engine:
        engine.submit(make_request(0, num_inference_steps=1), new_answer())
        gated.await_step()
        for seed, answer in enumerate(answers, start=1):
            engine.submit(make_request(seed, num_inference_steps=5), answer)
        broken = new_answer()
        engine.submit(make_request(9, num_inference_steps=5, guidance_scale=3.0), broken)
        gated.open()
        assert isinstance(broken.error(), InternalError)
        for answer in answers:
            answer.latents()
    assert [batch.num_slots for batch in gated.batches[-4:]] == [7] * 4


def test_a_batch_too_large_for_the_memory_makes_its_lane_careful(family, gated, make_request, new_answer):
    def poison(batch):
        if batch.num_slots > 2:
            raise MemoryError

    gated.poison = poison
    answers = [new_answer() for _ in range(4)]
    with Engine(gated, family, max_slots=8) as engine:
        engine.submit(make_request(0, num_inference_steps=1), new_answer())
        gated.await_step()
        for seed, answer in enumerate(answers, start=1):
            engine.submit(make_request(seed, num_inference_steps=5), answer)
        gated.open()
        for answer in answers:
            answer.latents()
    assert [batch.num_slots for batch in gated.batches if batch.num_slots > 2] == [4]
