"""Schedulers against the diffusers classes they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from packshot_serving.engine import make_schedule

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

CLASSES = {
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
}
SCALED_LINEAR = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LINEAR = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
LATENT = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "num_train_timesteps": 1000}
#: Steps at which diffusers' trailing spacing makes one call too many, at timestep −1.
ONE_TOO_MANY = (61, 103, 121, 122)
#: scheduler_config.json of the Stable Diffusion 1.5 checkpoints.
SD15 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
#: scheduler_config.json of the Stable Diffusion 2 checkpoints (768 pixels).
SD2 = {
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.8.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
TOLERANCE = 1e-4
_RANDOM = np.random.default_rng(7)
FEEDBACK = _RANDOM.uniform(-0.5, 0.5, 256).astype(np.float32)
INNOVATION = _RANDOM.standard_normal((256, 4)).astype(np.float32)
NOISE = _RANDOM.standard_normal(4).astype(np.float32)


def model(step: int, model_input: np.ndarray) -> np.ndarray:
    """Stands in for a UNet: another linear function at every step."""
    return FEEDBACK[step] * model_input + INNOVATION[step]


def run_diffusers(scheduler, num_inference_steps: int) -> np.ndarray:
    """The samples after each step, as in a diffusers pipeline."""
    scheduler.set_timesteps(num_inference_steps)
    sample = torch.from_numpy(NOISE) * scheduler.init_noise_sigma
    feedback, innovation = torch.from_numpy(FEEDBACK), torch.from_numpy(INNOVATION)
    samples = []
    for step, timestep in enumerate(scheduler.timesteps):
        output = feedback[step] * scheduler.scale_model_input(sample, timestep) + innovation[step]
        sample = scheduler.step(output, timestep, sample, return_dict=False)[0]
        samples.append(sample)
    return torch.stack(samples).numpy()


def run_schedule(schedule) -> np.ndarray:
    """The samples after each step, in float32 as the step graph computes them."""
    state = np.zeros((schedule.state_size, 4), np.float32)
    state[0] = NOISE * np.float32(schedule.init_noise_sigma)
    samples = []
    for step in range(schedule.num_steps):
        output = model(step, state[0] * schedule.input_scale[step])
        state = schedule.transition[step] @ state + schedule.gain[step][:, None] * output
        samples.append(state[0])
    return np.stack(samples)


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The greatest difference at any step, relative to the greatest value at that step."""
    assert ours.shape == theirs.shape
    return float((np.abs(ours - theirs).max(axis=1) / np.abs(theirs).max(axis=1)).max())


def worst_difference(name: str, config: dict, steps) -> float:
    scheduler = CLASSES[name].from_config(config)
    worst = 0.0
    for count in steps:
        schedule = make_schedule(name, config, count)
        theirs = run_diffusers(scheduler, count)
        np.testing.assert_array_equal(schedule.timesteps, scheduler.timesteps.numpy())
        worst = max(worst, relative_difference(run_schedule(schedule), theirs))
    return worst


@pytest.mark.parametrize("betas", [SCALED_LINEAR, LINEAR], ids=["scaled_linear", "linear"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("timestep_spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", CLASSES)
def test_equals_diffusers_at_1_to_100_steps(name, timestep_spacing, prediction_type, betas):
    config = {**LATENT, **betas, "timestep_spacing": timestep_spacing, "prediction_type": prediction_type}
    skipped = ONE_TOO_MANY if timestep_spacing == "trailing" else ()
    steps = (count for count in range(1, 101) if count not in skipped)
    assert worst_difference(name, config, steps) < TOLERANCE


STEPS = (1, 2, 3, 5, 14, 15, 16, 25, 50, 150, 200)


@pytest.mark.parametrize("config", [SD15, SD2], ids=["sd15", "sd2"])
@pytest.mark.parametrize("name", CLASSES)
def test_equals_diffusers_with_the_configs_of_published_checkpoints(name, config):
    assert worst_difference(name, config, STEPS) < TOLERANCE


@pytest.mark.parametrize("timestep_spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", CLASSES)
def test_equals_diffusers_with_zero_terminal_snr(name, timestep_spacing):
    config = {
        **SD2,
        "rescale_betas_zero_snr": True,
        "timestep_spacing": timestep_spacing,
        "set_alpha_to_one": True,
    }
    # Euler starts at a sigma of 4096: what float32 rounds there is 1e-4 of the sample one step later.
    tolerance = 5e-4 if name == "euler" else TOLERANCE
    assert worst_difference(name, config, STEPS) < tolerance


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, COSINE) for name in CLASSES),
        *((name, {"trained_betas": np.linspace(0.001, 0.01, 500).tolist()}) for name in CLASSES),
        *((name, {"final_sigmas_type": "sigma_min"}) for name in ("euler", "dpmpp_2m")),
        *((name, {"steps_offset": 0, "set_alpha_to_one": True}) for name in CLASSES),
        ("dpmpp_2m", {"lower_order_final": False}),
        ("dpmpp_2m", {"lower_order_final": False, "final_sigmas_type": "sigma_min"}),
        ("dpmpp_2m", {"euler_at_final": True, "final_sigmas_type": "sigma_min"}),
        ("dpmpp_2m", {**COSINE, "lambda_min_clipped": -5.1}),
        ("dpmpp_2m", {"solver_type": "logrho"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("timestep_spacing", ["leading", "trailing", "linspace"])
def test_equals_diffusers_with_rarer_options(name, options, timestep_spacing):
    config = {**LATENT, **SCALED_LINEAR, "timestep_spacing": timestep_spacing, **options}
    if "trained_betas" in options:
        config["num_train_timesteps"] = len(options["trained_betas"])
    assert worst_difference(name, config, STEPS) < TOLERANCE


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("count", ONE_TOO_MANY)
def test_leaves_out_the_step_that_diffusers_makes_too_many(name, count):
    config = {**LATENT, **SCALED_LINEAR, "timestep_spacing": "trailing"}
    scheduler = CLASSES[name].from_config(config)
    scheduler.set_timesteps(count)
    schedule = make_schedule(name, config, count)
    assert scheduler.timesteps[-1] == -1, "diffusers has changed: compare these step counts, too"
    np.testing.assert_array_equal(schedule.timesteps, scheduler.timesteps.numpy()[:-1])
