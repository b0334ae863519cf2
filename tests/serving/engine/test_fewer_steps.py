"""Requests that go without guidance or ControlNet from some step on, or begin with a later one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from packshot_serving.engine import Engine


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
