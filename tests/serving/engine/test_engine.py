"""Requests in a crowd: who joins when, who shares a batch, and that nobody notices the others."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest

from packshot.errors import InvalidArgument
from packshot_serving.engine import Engine
from tests.waiting import until


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
            if index == engine.policy.max_slots:
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
        until(lambda: kept() is None, timeout_s=20)
