"""A run that starts from a given picture, against diffusers' inpainting pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from packshot.errors import InvalidArgument
from packshot_serving.engine import make_schedule
from tests.serving.engine.scheduler_runs import (
    CLASSES,
    LATENT,
    SCALED_LINEAR,
    SD2,
    SD15,
    make_reference,
    worst_difference,
)

TOLERANCE = 1e-4
STRENGTHS = (0.05, 0.31, 0.5, 0.7, 0.96, 0.999)


@pytest.mark.parametrize("timestep_spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", CLASSES)
def test_equals_diffusers_from_the_first_sample_to_the_last(name, strength, timestep_spacing):
    steps = [count for count in (2, 3, 10, 25) if int(count * strength)]
    for config in (SD15, SD2):
        spaced = {**config, "timestep_spacing": timestep_spacing}
        assert worst_difference(name, spaced, steps, strength) < TOLERANCE


@pytest.mark.parametrize("name", CLASSES)
def test_equals_diffusers_at_every_step_that_a_run_can_begin_at(name):
    for begin in range(1, 20):
        # The middle between two strengths that mean different steps: no rounding can move it.
        assert worst_difference(name, SD15, [20], strength=(20 - begin + 0.5) / 20) < TOLERANCE


@pytest.mark.parametrize("name", CLASSES)
def test_at_strength_1_no_picture_is_needed_and_noise_has_diffusers_scale(name):
    scheduler = make_reference(name, SD15)
    scheduler.set_timesteps(25)
    schedule = make_schedule(name, SD15, 25, strength=1.0)
    assert schedule.initial_sample_gain == 0
    assert schedule.initial_noise_gain == pytest.approx(float(scheduler.init_noise_sigma), rel=1e-6)


@pytest.mark.parametrize(("strength", "num_steps"), [(0.5, 5), (0.7, 7), (0.69, 6), (0.1, 1), (0.999, 9)])
def test_the_noisiest_steps_are_left_out(strength, num_steps):
    config = {**LATENT, **SCALED_LINEAR}
    whole, part = (make_schedule("ddim", config, 10, strength=value) for value in (1.0, strength))
    np.testing.assert_array_equal(part.timesteps, whole.timesteps[-num_steps:])


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.5, float("nan"), 0.09])
def test_a_strength_that_leaves_no_step_is_refused(strength):
    with pytest.raises(InvalidArgument, match="strength: got"):
        make_schedule("dpmpp_2m", SD15, 10, strength=strength)


def test_a_start_that_lambda_min_clipped_has_cut_away_is_refused():
    config = {
        **LATENT, "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": 0.0, "timestep_spacing": "trailing",
    }  # fmt: skip
    make_schedule("dpmpp_2m", config, 10)
    with pytest.raises(InvalidArgument, match=r"strength: got a start at step 10 of 10, expected at most \d"):
        make_schedule("dpmpp_2m", config, 10, strength=0.1)
