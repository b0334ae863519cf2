"""Requests in a crowd: who joins when, who shares a batch, and that nobody notices the others."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from packshot.errors import InvalidArgument, Unavailable
from packshot_serving.engine import Engine, Policy


def until(condition) -> None:
    """Return once another thread has made the condition true."""
    pause, tries = threading.Event(), 20_000
    while not condition():
        tries -= 1
        assert tries, "it never became true"
        pause.wait(0.001)


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 7.5])
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "ddim", "euler"])
def test_one_request_gets_the_latents_of_the_plain_loop(
    family, runner, make_request, new_answer, scheduler, guidance_scale
):
    request = make_request(
        scheduler=scheduler,
        guidance_scale=guidance_scale,
        num_inference_steps=7,
        control_guidance_start=0.2,
        control_guidance_end=(0.7, 1.0),
    )
    answer = new_answer()
    with Engine(runner, family) as engine:
        engine.submit(request, answer)
        latents = answer.latents()
    assert (latents.dtype, latents.shape) == (np.dtype(np.float32), (4, 4, 3))
    np.testing.assert_allclose(latents, make_request.alone(request), rtol=1e-4, atol=1e-4)
    assert len(runner.batches) == 7
    assert {batch.num_rows for batch in runner.batches} == {2 if guidance_scale > 1 else 1}


def test_past_guidance_end_a_step_costs_one_row(family, runner, make_request, new_answer):
    request = make_request(num_inference_steps=10, guidance_end=0.5)
    answer = new_answer()
    with Engine(runner, family) as engine:
        engine.submit(request, answer)
        np.testing.assert_allclose(answer.latents(), make_request.alone(request), rtol=1e-4, atol=1e-4)
    assert [batch.num_rows for batch in runner.batches] == [2] * 5 + [1] * 5


@pytest.mark.parametrize("end", [1 / 3, float(str(np.float32(1 / 3)))])
def test_a_share_of_whole_steps_means_them_however_it_was_sent(family, runner, make_request, new_answer, end):
    answer = new_answer()
    with Engine(runner, family) as engine:
        engine.submit(make_request(num_inference_steps=9, guidance_end=end, control_guidance_end=end), answer)
        answer.latents()
    assert [batch.num_rows for batch in runner.batches] == [2] * 3 + [1] * 6
    assert [batch.num_control_rows > 0 for batch in runner.batches] == [True] * 3 + [False] * 6


def test_neighbours_whose_guidance_ends_at_other_steps_do_not_notice(family, gated, make_request, new_answer):
    ends = (0.25, 0.5, 1.0)
    requests = [make_request(seed, num_inference_steps=8, guidance_end=end) for seed, end in enumerate(ends)]
    answers = [new_answer() for _ in requests]
    with Engine(gated, family) as engine:
        engine.submit(requests[0], answers[0])
        gated.await_step()
        for request, answer in zip(requests[1:], answers[1:], strict=True):
            engine.submit(request, answer)
        gated.open()
        for request, answer in zip(requests, answers, strict=True):
            np.testing.assert_allclose(answer.latents(), make_request.alone(request), rtol=1e-4, atol=1e-4)
    rows = [(batch.num_slots, batch.num_rows) for batch in gated.batches]
    assert rows == [(1, 2), (3, 6), (3, 5), (3, 5), (3, 5), (3, 4), (3, 4), (3, 4), (2, 3)]


@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "ddim", "euler", "unipc"])
def test_a_run_from_a_picture_takes_the_last_steps_only(family, runner, make_request, new_answer, scheduler):
    picture = np.random.default_rng(1).standard_normal((4, 4, 3)).astype(np.float32)
    with Engine(runner, family) as engine:
        for strength in (0.3, 0.8, 1.0):  # the same engine: it must not take one's coefficients for another
            wanted = make_request(
                scheduler=scheduler,
                num_inference_steps=10,
                strength=strength,
                control_guidance_end=(0.5, 1.0),
            )
            request, answer = replace(wanted, image_latents=picture), new_answer()
            runner.batches.clear()
            engine.submit(request, answer)
            np.testing.assert_allclose(answer.latents(), make_request.alone(request), rtol=1e-4, atol=1e-4)
            assert len(runner.batches) == int(10 * strength)


def test_fifty_requests_in_a_crowd_equal_themselves_alone(family, gated, make_request, new_answer, watcher):
    random = np.random.default_rng(0)
    requests = [
        make_request(
            seed,
            size=[(32, 24), (16, 64), (48, 48)][random.integers(3)],
            scheduler=str(random.choice(["ddim", "euler", "dpmpp_2m"])),
            num_inference_steps=int(random.integers(1, 30)),
            guidance_scale=float(random.choice([0.5, 1.0, 3.0, 7.5])),
            controlnet_conditioning_scale=(float(random.random()), 0.0),
            control_guidance_end=float(random.uniform(0.1, 1)),
        )
        for seed in range(50)
    ]
    answers = [new_answer() for _ in requests]
    with Engine(gated, family, max_slots=8, observer=watcher) as engine:
        for index, (request, answer) in enumerate(zip(requests, answers, strict=True), start=1):
            engine.submit(request, answer)
            if index == engine.max_slots:
                gated.open()
        crowd = [answer.latents() for answer in answers]
    for request, latents in zip(requests, crowd, strict=True):
        alone = make_request.alone(request)
        assert np.abs(latents - alone).max() <= 1e-4 * np.abs(alone).max()
    assert [answer.calls for answer in answers] == [1] * 50
    assert max(report.slots for report in watcher.steps) > 2, "nobody shared a batch"
    assert sum(report.slots for report in watcher.steps) == sum(
        request.parameters.num_inference_steps for request in requests
    )


def test_a_newcomer_joins_the_very_next_step(family, gated, make_request, new_answer):
    first, second = new_answer(), new_answer()
    with Engine(gated, family) as engine:
        engine.submit(make_request(0, num_inference_steps=5), first)
        gated.await_step()
        engine.submit(make_request(1, num_inference_steps=5), second)
        gated.allow()
        gated.await_step()
        gated.open()
        first.latents()
        second.latents()
    assert [batch.num_slots for batch in gated.batches] == [1, 2, 2, 2, 2, 1]


def test_a_short_request_does_not_wait_for_a_long_one(family, gated, make_request, new_answer):
    long, short = new_answer(), new_answer()
    with Engine(gated, family) as engine:
        engine.submit(make_request(0, num_inference_steps=50), long)
        gated.await_step()
        engine.submit(make_request(1, num_inference_steps=2), short)
        for _ in range(3):
            gated.allow()
            gated.await_step()
        short.latents()
        assert not long.arrived
        gated.open()
        long.latents()
    assert len(gated.batches) == 50


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


def test_the_engine_keeps_nothing_of_the_caller_s_buffers(family, gated, make_request, new_answer):
    request, reference = make_request(1), make_request(1)
    request = replace(request, latents=np.ones((4, 4, 3), np.float32))
    reference = replace(reference, latents=np.ones((4, 4, 3), np.float32))
    answer = new_answer()
    with Engine(gated, family, max_slots=1) as engine:
        engine.submit(make_request(0, num_inference_steps=1), new_answer())
        engine.submit(request, answer)
        for name in ("prompt_embeds", "negative_prompt_embeds", "masked_image_latents", "mask_latents",
                     "control_image", "latents"):  # fmt: skip
            getattr(request, name).fill(99)
        gated.open()
        np.testing.assert_allclose(answer.latents(), make_request.alone(reference), rtol=1e-4, atol=1e-4)


def test_a_slot_is_free_before_its_answer_is_given(family, runner, make_request):
    in_use, done = [], threading.Event()

    def on_done(result):
        in_use.append(engine.slots_in_use)
        done.set()

    with Engine(runner, family, max_slots=1) as engine:
        engine.submit(make_request(num_inference_steps=1), on_done)
        assert done.wait(20)
    assert in_use == [0]


def test_lanes_take_turns(family, gated, make_request, new_answer):
    sizes = [(32, 32), (32, 32), (64, 16), (16, 64)]
    answers = [new_answer() for _ in sizes]
    with Engine(gated, family) as engine:
        engine.submit(make_request(0, size=sizes[0], num_inference_steps=4), answers[0])
        gated.await_step()
        for seed, size in list(enumerate(sizes))[1:]:
            engine.submit(make_request(seed, size=size, num_inference_steps=3), answers[seed])
        gated.open()
        for answer in answers:
            answer.latents()
    lanes = [batch.state.shape[-2:] for batch in gated.batches]
    assert lanes == [(4, 4), *[(4, 4), (8, 2), (2, 8)] * 3]
    assert [batch.num_slots for batch in gated.batches if batch.state.shape[-1] == 4] == [1, 2, 2, 2]


def test_a_refused_request_is_never_answered_and_takes_no_slot(family, runner, make_request, new_answer):
    answer = new_answer()
    with Engine(runner, family, max_slots=1) as engine:
        with pytest.raises(InvalidArgument, match="controlnet_conditioning_scale"):
            engine.submit(make_request(controlnet_conditioning_scale=(1.0, 1.0, 1.0)), answer)
        assert engine.slots_in_use == 0
    assert not answer.arrived
    assert not runner.batches


def test_an_engine_without_slots_is_refused(family, runner):
    with pytest.raises(InvalidArgument, match="max_slots: got 0"):
        Engine(runner, family, max_slots=0)


def test_the_observer_hears_of_every_step_start_and_end(family, runner, make_request, new_answer, watcher):
    answer = new_answer()
    ticks = iter(range(100))  # every look at the clock takes a second
    with Engine(runner, family, observer=watcher, clock=lambda: float(next(ticks))) as engine:
        engine.submit(make_request(num_inference_steps=2, priority=2), answer)
        answer.latents()
    seen = [(step.lane, step.rows, step.padding_rows, step.slots, step.seconds) for step in watcher.steps]
    assert seen == [((4, 3), 2, 0, 1, 1.0)] * 2
    assert watcher.standings == [(1, 0), (0, 0)]
    ((wait_s, priority),) = watcher.waits
    ((outcome, seconds, ended_priority),) = watcher.endings
    assert (outcome, priority, ended_priority) == ("done", 2, 2)
    assert seconds - wait_s > 2 > wait_s - 1 > 0


def test_an_idle_engine_keeps_nothing_of_an_answered_request(family, runner, make_request, new_answer):
    with Engine(runner, family) as engine:
        answer = new_answer()
        kept = weakref.ref(answer)
        engine.submit(make_request(num_inference_steps=2), answer)
        answer.latents()
        del answer
        until(lambda: kept() is None)
