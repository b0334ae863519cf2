"""Progress and cancellation, draining, and waiting for room."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from packshot.errors import Cancelled, Unavailable
from packshot_serving.engine import Engine, Policy, Progress, Ticket


class Diary(Ticket):
    """Remembers every report."""

    def __init__(self):
        super().__init__()
        self.reports, self.previews = [], []

    def report(self, progress):
        super().report(progress)
        self.reports.append(progress)

    def preview(self, step, latents):
        self.previews.append((step, latents.shape))


def test_a_ticket_tells_how_far_its_request_is(family, runner, make_request, new_answer):
    answer, ticket = new_answer(), Diary()
    ticket.preview_interval = 2
    assert ticket.progress == Progress("preparing")
    with Engine(runner, family) as engine:
        assert engine.submit(make_request(num_inference_steps=5), answer, ticket=ticket) is ticket
        answer.latents()
    assert [(report.state, report.step, report.num_steps) for report in ticket.reports] == [
        *(("running", step, 5) for step in range(5)), ("ended", 5, 5),
    ]  # fmt: skip
    assert ticket.previews == [(2, (4, 4, 3)), (4, (4, 4, 3))]


def test_cancelling_frees_the_slot_within_one_step_and_touches_nobody_else(
    family, gated, make_request, new_answer, watcher
):
    gone, stays, next_one = new_answer(), new_answer(), new_answer()
    other = make_request(1, num_inference_steps=4)
    with Engine(gated, family, max_slots=2, observer=watcher) as engine:
        ticket = engine.submit(make_request(0, num_inference_steps=50), gone)
        gated.await_step()
        engine.submit(other, stays)
        ticket.cancel()
        gated.allow()
        gated.await_step()
        assert isinstance(gone.error(), Cancelled)
        assert ticket.progress.state == "ended"
        assert engine.slots_in_use == 1
        engine.submit(make_request(2, num_inference_steps=1), next_one)  # does not block
        gated.open()
        np.testing.assert_allclose(stays.latents(), make_request.alone(other), rtol=1e-4, atol=1e-4)
        next_one.latents()
    assert gone.calls == 1
    assert sorted(kind for kind, _, _ in watcher.endings) == ["cancelled", "done", "done"]


def test_a_waiting_request_sees_its_place_and_can_be_cancelled(family, gated, make_request, new_answer):
    answers = [new_answer() for _ in range(3)]
    with Engine(gated, family, max_slots=1) as engine:
        engine.submit(make_request(0, num_inference_steps=3), answers[0])
        gated.await_step()
        tickets = [engine.submit(make_request(seed), answers[seed]) for seed in (1, 2)]
        assert [ticket.progress.queue_position for ticket in tickets] == [1, 2]
        assert tickets[0].progress.state == "waiting"
        tickets[0].cancel()
        gated.allow()
        assert isinstance(answers[1].error(), Cancelled)  # the next step's beginning lets it go
        assert tickets[1].progress.queue_position == 1
        gated.open()
        answers[2].latents()


def test_a_request_that_was_cancelled_before_is_not_taken(family, runner, make_request, new_answer):
    ticket = Ticket()
    ticket.cancel()
    with Engine(runner, family) as engine, pytest.raises(Cancelled):
        engine.submit(make_request(), new_answer(), ticket=ticket)
    assert not runner.batches


def test_a_hundred_cancelled_at_random_steps_leave_no_slot_behind(family, runner, make_request, new_answer):
    random, answers = np.random.default_rng(0), []
    with Engine(runner, family, policy=Policy(max_slots=8, max_queue_size=100)) as engine:
        for seed in range(100):
            ticket, last = Diary(), int(random.integers(1, 12))
            ticket.preview_interval = 1
            ticket.preview = lambda step, latents, t=ticket, last=last: t.cancel() if step == last else None
            answers.append(new_answer())
            engine.submit(make_request(seed, num_inference_steps=10), answers[-1], ticket=ticket)
        ends = [answer._wait() for answer in answers]
        assert engine.slots_in_use == 0
        assert engine.alive
    assert {type(end) for end in ends} == {Cancelled, np.ndarray}
    assert {answer.calls for answer in answers} == {1}


def test_closing_can_drain_what_runs(family, gated, make_request, new_answer):
    request, answer = make_request(num_inference_steps=5), new_answer()
    engine = Engine(gated, family)
    engine.submit(request, answer)
    gated.await_step()
    closing = threading.Thread(target=engine.close, kwargs={"drain_s": 60.0})
    closing.start()
    while engine.alive:
        pass
    with pytest.raises(Unavailable):
        engine.submit(request, new_answer())
    gated.open()
    closing.join(20)
    np.testing.assert_allclose(answer.latents(), make_request.alone(request), rtol=1e-4, atol=1e-4)


def test_draining_ends_at_its_bound(family, gated, make_request, new_answer):
    now, answer = [0.0], new_answer()
    gated.poison = lambda batch: now.__setitem__(0, now[0] + 1.0)
    engine = Engine(gated, family, clock=lambda: now[0])
    engine.submit(make_request(num_inference_steps=100), answer)
    gated.await_step()
    closing = threading.Thread(target=engine.close, kwargs={"drain_s": 7.0})
    closing.start()
    while engine.alive:
        pass
    gated.open()
    closing.join(20)
    assert isinstance(answer.error(), Unavailable)
    assert len(gated.batches) == 7


def test_the_batch_can_be_smaller_than_the_slots(family, gated, make_request, new_answer):
    policy = Policy(max_slots=4, max_batch=2, step_s=1.0, full_step_s=1.0)
    answers, requests = (
        [new_answer() for _ in range(4)],
        [make_request(seed, num_inference_steps=6) for seed in range(4)],
    )
    with Engine(gated, family, policy=policy) as engine:
        for request, answer in zip(requests, answers, strict=True):
            engine.submit(request, answer)
        gated.open()
        for request, answer in zip(requests, answers, strict=True):
            np.testing.assert_allclose(answer.latents(), make_request.alone(request), rtol=1e-4, atol=1e-4)
    assert max(batch.num_slots for batch in gated.batches) == 2
