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
    "skip_prk_steps": True,
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
        ("pndm", {"skip_prk_steps": False}),
        ("pndm", {"prediction_type": "sample"}),
        ("pndm", {"rescale_betas_zero_snr": True}),
        ("euler_ancestral", {"prediction_type": "sample"}),
        ("unipc", {"solver_order": 3}),
        ("unipc", {"solver_type": "bh1"}),
        ("unipc", {"predict_x0": False}),
        ("unipc", {"lower_order_final": False}),
        ("unipc", {"disable_corrector": [0]}),
        ("unipc", {"thresholding": True}),
        *(
            (name, {option: True})
            for name in ("dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_karras", "unipc", "unipc_karras")
            for option in ("use_exponential_sigmas", "use_beta_sigmas")
        ),
        *((name, {"use_flow_sigmas": True}) for name in ("dpmpp_2m", "unipc")),
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


def test_pndm_takes_runge_kutta_steps_unless_the_file_says_otherwise_so_it_is_refused():
    config = {key: value for key, value in CONFIG.items() if key != "skip_prk_steps"}
    with pytest.raises(RepositoryError, match=r"skip_prk_steps: got False \(the default of PNDMScheduler"):
        make_schedule("pndm", config, 10)
    make_schedule("unipc", config, 10)


@pytest.mark.parametrize("name", ["dpmpp_2m", "euler", "unipc"])
def test_karras_sigmas_come_by_name_or_from_the_file(name):
    by_file = make_schedule(name, {**CONFIG, "use_karras_sigmas": True}, 10)
    by_name = make_schedule(f"{name}_karras", CONFIG, 10)
    np.testing.assert_array_equal(by_name.transition, by_file.transition)
    assert (by_name.timesteps != make_schedule(name, CONFIG, 10).timesteps).any()


@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_a_timestep_past_the_trained_ones_is_refused(name):
    with pytest.raises(RepositoryError, match=r"steps_offset: timestep 1000 .* is past the 1000 trained"):
        make_schedule(name, {**CONFIG, "steps_offset": 1}, 1000)


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


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_reads_no_history_before_it_has_written_some(name, strength):
    schedule = make_schedule(name, CONFIG, 10, strength=strength)
    assert not schedule.transition[0, :, 1:].any()
    for array in (schedule.transition, schedule.gain, schedule.input_scale, schedule.timesteps):
        assert np.isfinite(array).all()


def test_schedules_cannot_be_changed_by_one_of_the_requests_that_share_them():
    with pytest.raises(ValueError, match="read-only"):
        make_schedule("ddim", CONFIG, 10).gain[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        make_schedule("euler_ancestral", CONFIG, 10).noise_gain[0] = 0
