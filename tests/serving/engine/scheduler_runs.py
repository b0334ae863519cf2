"""Denoising runs by diffusers' schedulers and by our schedules, on a UNet that is easy to compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.schedulers import scheduling_euler_ancestral_discrete

from packshot_serving.engine import Schedule, make_schedule
from packshot_serving.engine.noise import step_noise

KARRAS = {"use_karras_sigmas": True}
#: The class behind each name, and what it is made with besides the checkpoint's config.
CLASSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (diffusers.DPMSolverMultistepScheduler, KARRAS),
    "ddim": (diffusers.DDIMScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_karras": (diffusers.EulerDiscreteScheduler, KARRAS),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "unipc_karras": (diffusers.UniPCMultistepScheduler, KARRAS),
    "pndm": (diffusers.PNDMScheduler, {}),
}
SCALED_LINEAR = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LINEAR = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
LATENT = {
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "num_train_timesteps": 1000,
    "skip_prk_steps": True,
}
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
#: Steps at which diffusers' trailing spacing makes one call too many, at timestep −1.
ONE_TOO_MANY = (61, 103, 121, 122)

SEED = 7
SHAPE = (1, 4)
_RANDOM = np.random.default_rng(SEED)
_FEEDBACK = _RANDOM.uniform(-0.5, 0.5, 256).astype(np.float32)
_INNOVATION = _RANDOM.standard_normal((256, *SHAPE)).astype(np.float32)
_NOISE = _RANDOM.standard_normal(SHAPE).astype(np.float32)
_PICTURE = _RANDOM.standard_normal(SHAPE).astype(np.float32)
_STEP_NOISE = [step_noise(SEED, step, SHAPE) for step in range(256)]
_TORCH_FEEDBACK, _TORCH_INNOVATION = torch.from_numpy(_FEEDBACK), torch.from_numpy(_INNOVATION)
_TORCH_STEP_NOISE = [torch.from_numpy(noise) for noise in _STEP_NOISE]


def run_diffusers(scheduler, num_inference_steps: int, strength: float = 1.0, rows: int = 1) -> np.ndarray:
    """The samples after each step, as in ``StableDiffusionControlNetInpaintPipeline``; [N, rows, 4]."""
    scheduler.set_timesteps(num_inference_steps)
    begin = num_inference_steps - min(int(num_inference_steps * strength), num_inference_steps)
    timesteps = scheduler.timesteps[begin * scheduler.order :]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin * scheduler.order)
    noise = torch.from_numpy(_NOISE)
    if strength == 1:
        sample = noise * scheduler.init_noise_sigma
    else:
        sample = scheduler.add_noise(torch.from_numpy(_PICTURE), noise, timesteps[:1])
    sample, samples = sample.repeat(rows, 1), []
    with (
        torch.inference_mode(),
        mock.patch.object(scheduling_euler_ancestral_discrete, "randn_tensor", side_effect=_TORCH_STEP_NOISE),
    ):
        for step, timestep in enumerate(timesteps):
            model_input = scheduler.scale_model_input(sample, timestep)
            output = _TORCH_FEEDBACK[step] * model_input + _TORCH_INNOVATION[step]
            sample = scheduler.step(output, timestep, sample, return_dict=False)[0]
            samples.append(sample)
    return torch.stack(samples).numpy()


def run_schedule(schedule: Schedule) -> np.ndarray:
    """The samples after each step, in float32 as the step graph and its host compute them."""
    state = np.zeros((schedule.state_size, SHAPE[1]), np.float32)
    state[0] = _NOISE[0] * np.float32(schedule.initial_noise_gain)
    if schedule.initial_sample_gain:
        state[0] += _PICTURE[0] * np.float32(schedule.initial_sample_gain)
    samples = []
    for step in range(schedule.num_steps):
        output = _FEEDBACK[step] * (state[0] * schedule.input_scale[step]) + _INNOVATION[step, 0]
        state = schedule.transition[step] @ state + schedule.gain[step][:, None] * output
        if schedule.noise_gain is not None:
            state = state + schedule.noise_gain[step][:, None] * _STEP_NOISE[step]
        samples.append(state[0])
    return np.stack(samples)


def make_reference(name: str, config: dict):
    """The diffusers scheduler that a name stands for."""
    scheduler_class, options = CLASSES[name]
    return scheduler_class.from_config(config, **options)


def make_multistep_reference(name: str, config: dict, prediction_types: Sequence[str]):
    """A multistep scheduler that reads each row of a batch as another prediction type.

    The type matters to ``convert_model_output`` only: here each row goes through that of a scheduler
    of its type, and everything that is slow is done once for all of them.
    """
    scheduler = make_reference(name, config)
    of_type = [make_reference(name, {**config, "prediction_type": kind}) for kind in prediction_types]

    def convert_model_output(model_output: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        converted = []
        for row, other in enumerate(of_type):
            other.sigmas, other._step_index = scheduler.sigmas, scheduler.step_index
            part = slice(row, row + 1)
            converted.append(other.convert_model_output(model_output[part], sample=sample[part]))
        return torch.cat(converted)

    scheduler.convert_model_output = convert_model_output
    return scheduler


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The greatest difference at any step, relative to the greatest value at that step."""
    assert ours.shape == theirs.shape
    return float((np.abs(ours - theirs).max(axis=-1) / np.abs(theirs).max(axis=-1)).max())


def worst_difference(
    name: str,
    config: dict,
    steps: Iterable[int],
    strength: float = 1.0,
    prediction_types: Sequence[str] = (),
) -> float:
    """The greatest relative difference over runs of several lengths; their timesteps must be equal.

    Args:
        name: of the scheduler.
        config: of the checkpoint.
        steps: num_inference_steps of each run.
        strength: below 1 starts from a picture.
        prediction_types: instead of the config's; for multistep schedulers only.
    """
    if prediction_types:
        scheduler = make_multistep_reference(name, config, prediction_types)
    else:
        scheduler = make_reference(name, config)
    configs = [{**config, "prediction_type": kind} for kind in prediction_types] or [config]
    # Euler's Karras timesteps are fractions from float32 logarithms: good to a thousandth of a timestep.
    fractions = isinstance(scheduler, diffusers.EulerDiscreteScheduler) and scheduler.config.use_karras_sigmas
    tolerance = 2e-3 if fractions else 0.0
    worst = 0.0
    for count in steps:
        theirs = run_diffusers(scheduler, count, strength, len(configs))
        schedules = [make_schedule(name, each, count, strength=strength) for each in configs]
        for schedule in schedules:
            expected = scheduler.timesteps.numpy()[-schedule.num_steps :]
            np.testing.assert_allclose(schedule.timesteps, expected, rtol=0, atol=tolerance)
        ours = np.stack([run_schedule(schedule) for schedule in schedules], axis=1)
        worst = max(worst, relative_difference(ours, theirs))
    return worst
