"""Scheduler options that cannot be served faithfully are refused by name."""

import re

import numpy as np
import pytest

from packshot.errors import InvalidArgument, RepositoryError
from packshot.parameters import SCHEDULERS
from packshot_serving.engine import make_schedule
from packshot_serving.engine.schedulers import SCHEDULES

CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}


def test_every_scheduler_that_callers_can_name_exists():
    assert set(SCHEDULES) == set(SCHEDULERS)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddim", {"clip_sample": True}),
        ("ddim", {"thresholding": True}),
        ("dpmpp_2m", {"thresholding": True}),
        ("dpmpp_2m", {"solver_order": 3}),
        ("dpmpp_2m", {"solver_type": "heun"}),
        ("dpmpp_2m", {"algorithm_type": "sde-dpmsolver++"}),
        ("dpmpp_2m", {"use_karras_sigmas": True}),
        ("euler", {"use_karras_sigmas": True}),
        ("euler", {"timestep_type": "continuous"}),
        *((name, {"prediction_type": "flow_prediction"}) for name in SCHEDULES),
        *((name, {"timestep_spacing": "random"}) for name in SCHEDULES),
        *((name, {"beta_schedule": "sigmoid"}) for name in SCHEDULES),
    ],
    ids=str,
)
def test_an_option_without_a_linear_form_is_refused_by_name(name, options):
    ((option, value),) = options.items()
    with pytest.raises(RepositoryError, match=re.escape(f"{option}: got {value!r}, expected")):
        make_schedule(name, {**CONFIG, **options}, 10)


def test_ddim_clips_unless_the_file_says_otherwise_so_it_is_refused():
    config = {key: value for key, value in CONFIG.items() if key != "clip_sample"}
    with pytest.raises(RepositoryError, match=r"clip_sample: got True \(the default of DDIMScheduler"):
        make_schedule("ddim", config, 10)
    make_schedule("dpmpp_2m", config, 10)  # does not clip


def test_an_epsilon_prediction_at_zero_snr_is_refused():
    config = {**CONFIG, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    with pytest.raises(RepositoryError, match="signal-to-noise ratio of zero"):
        make_schedule("ddim", config, 10)
    make_schedule("ddim", {**config, "prediction_type": "v_prediction"}, 10)


def test_values_that_were_another_class_s_defaults_are_not_the_checkpoint_s_choice():
    config = {**CONFIG, "timestep_spacing": "trailing", "_use_default_values": ["timestep_spacing"]}
    np.testing.assert_array_equal(
        make_schedule("euler", config, 10).timesteps, make_schedule("euler", CONFIG, 10).timesteps
    )


def test_an_unknown_scheduler_is_refused():
    with pytest.raises(InvalidArgument, match="scheduler: got 'heun', expected one of"):
        make_schedule("heun", CONFIG, 10)


@pytest.mark.parametrize("count", [0, 1001])
def test_step_counts_beyond_the_trained_timesteps_are_refused(count):
    with pytest.raises(InvalidArgument, match="num_inference_steps"):
        make_schedule("ddim", CONFIG, count)


def test_timesteps_that_would_repeat_are_refused():
    config = {**CONFIG, "num_train_timesteps": 20, "timestep_spacing": "leading"}
    with pytest.raises(InvalidArgument, match="would repeat"):
        make_schedule("dpmpp_2m", config, 20)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_state_may_be_larger_than_a_scheduler_needs(name):
    small, large = (make_schedule(name, CONFIG, 10, size) for size in (2, 4))
    np.testing.assert_array_equal(small.transition, large.transition[:, :2, :2])
    assert not large.transition[:, 2:].any()
    assert not large.transition[:, :, 2:].any()
    assert not large.gain[:, 2:].any()


def test_schedules_cannot_be_changed_by_one_of_the_requests_that_share_them():
    with pytest.raises(ValueError, match="read-only"):
        make_schedule("ddim", CONFIG, 10).gain[0] = 0
