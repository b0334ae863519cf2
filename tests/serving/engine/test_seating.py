"""Who gets a slot that has become free, who waits, and who has none any more."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from packshot.errors import InternalError, Unavailable
from packshot_serving.engine import Engine, Policy, Ticket
from tests.waiting import until


def test_a_request_without_a_slot_waits_for_the_next_free_one(family, gated, make_request, new_answer):
    answers = [new_answer() for _ in range(3)]
    with Engine(gated, family, max_slots=2) as engine:
        engine.submit(make_request(0, num_inference_steps=2), answers[0])
        gated.await_step()
        engine.submit(make_request(1, num_inference_steps=9), answers[1])
        engine.submit(make_request(2, num_inference_steps=1), answers[2])  # does not block
        gated.allow()
        gated.await_step()  # the second step, with the first two
        assert (engine.slots_in_use, engine.num_waiting) == (2, 1)
        gated.allow()
        answers[0].latents()
        gated.await_step()
        assert (engine.slots_in_use, engine.num_waiting) == (2, 0)
        gated.open()
        answers[1].latents()
        answers[2].latents()
    assert max(batch.num_slots for batch in gated.batches) == 2


def test_requests_get_their_slots_by_priority_then_in_order_of_arrival(
    family, gated, make_request, new_answer
):
    order, answers = [], [new_answer() for _ in range(5)]

    def note_and_pass_on(seed):
        def on_done(result):
            order.append(seed)
            answers[seed](result)

        return on_done

    with Engine(gated, family, max_slots=1) as engine:
        for seed, priority in enumerate([2, 2, 2, 1, 1]):
            request = make_request(seed, num_inference_steps=1, priority=priority)
            engine.submit(request, note_and_pass_on(seed))
            if not seed:
                gated.await_step()
        assert engine.num_waiting == 4
        gated.open()
        for answer in answers:
            answer.latents()
        assert engine.num_waiting == 0
    assert order == [0, 3, 4, 1, 2]


def test_a_full_queue_refuses_at_once_but_each_priority_has_its_own(
    family, gated, make_request, new_answer, watcher
):
    answers = [new_answer() for _ in range(5)]
    policy = Policy(max_slots=1, max_queue_size=2)
    with Engine(gated, family, policy=policy, observer=watcher) as engine:
        for seed in range(3):
            engine.submit(make_request(seed, num_inference_steps=2, priority=2), answers[seed])
        with pytest.raises(Unavailable, match="queue is full: 2 requests"):
            engine.submit(make_request(3, priority=2), answers[3])
        engine.submit(make_request(4, num_inference_steps=1), answers[4])
        gated.open()
        for index in (0, 1, 2, 4):
            answers[index].latents()
    assert not answers[3].arrived
    assert sorted(kind for kind, _, _ in watcher.endings) == ["done"] * 4 + ["unavailable"]


def test_who_waits_longer_than_it_wanted_is_let_go(family, gated, make_request, new_answer):
    now, answers = [0.0], [new_answer() for _ in range(3)]
    with Engine(gated, family, max_slots=1, clock=lambda: now[0]) as engine:
        engine.submit(make_request(0, num_inference_steps=3), answers[0])
        gated.await_step()
        engine.submit(replace(make_request(1), timeout_s=5.0), answers[1])
        engine.submit(replace(make_request(2), timeout_s=50.0), answers[2])
        now[0] = 5.1
        gated.allow()
        error = answers[1].error()
        assert isinstance(error, Unavailable)
        assert "within 5 s" in str(error)
        gated.open()
        answers[0].latents()
        answers[2].latents()


def test_a_slot_is_free_before_its_answer_is_given(family, runner, make_request):
    in_use, done = [], threading.Event()

    def on_done(result):
        in_use.append(engine.slots_in_use)
        done.set()

    with Engine(runner, family, max_slots=1) as engine:
        engine.submit(make_request(num_inference_steps=1), on_done)
        assert done.wait(20)
    assert in_use == [0]


def test_what_waits_when_the_engine_closes_gets_no_slot(family, gated, make_request, new_answer):
    running, waiting = new_answer(), new_answer()
    engine = Engine(gated, family, max_slots=1)
    engine.submit(make_request(1, num_inference_steps=1), running)
    gated.await_step()
    engine.submit(make_request(2, num_inference_steps=3), waiting)
    closing = threading.Thread(target=engine.close, kwargs={"drain_s": 60.0})
    closing.start()
    until(lambda: not engine.alive, timeout_s=20)
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


def test_who_waits_is_told_when_it_moves_and_not_at_every_step(family, gated, make_request, new_answer):
    class Counted(Ticket):
        def __init__(self):
            super().__init__()
            self.waited = []

        def report(self, progress):
            super().report(progress)
            if progress.state == "waiting":
                self.waited.append(progress.queue_position)

    ticket, answers = Counted(), [new_answer() for _ in range(3)]
    with Engine(gated, family, max_slots=1) as engine:
        for seed, answer in enumerate(answers[:2]):
            engine.submit(make_request(seed, num_inference_steps=5), answer)
        engine.submit(make_request(2, num_inference_steps=5), answers[2], ticket=ticket)
        gated.open()
        for answer in answers:
            answer.latents()
    assert ticket.waited == [2, 1]


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


def test_the_engine_keeps_its_batches_small_after_one_was_too_large(family, gated, make_request, new_answer):
    def poison(batch):
        if batch.num_slots > 2:
            raise MemoryError

    gated.poison = poison
    answers = [new_answer() for _ in range(5)]
    with Engine(gated, family, max_slots=5) as engine:
        for seed, answer in enumerate(answers):
            engine.submit(make_request(seed, num_inference_steps=8), answer)
            if not seed:
                gated.await_step()
        gated.open()
        for answer in answers:
            answer.latents()
    assert [batch.num_slots for batch in gated.batches if batch.num_slots > 2] == [5, 3]
