"""Euler's method without churn, as diffusers' ``EulerDiscreteScheduler``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot_serving.engine.schedulers.options import COMMON_ACCEPTED, OFF, TRAINING_DEFAULTS, read_options
from packshot_serving.engine.schedulers.prediction import denoised_weights
from packshot_serving.engine.schedulers.schedule import DenoisedForm
from packshot_serving.engine.schedulers.training import SMALLEST_ALPHA_CUMPROD, alphas_cumprod, sigmas_of

_DEFAULTS = {
    **TRAINING_DEFAULTS,
    "timestep_spacing": "linspace",
    "timestep_type": "discrete",
    "interpolation_type": "linear",
    "final_sigmas_type": "zero",
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_ACCEPTED = {
    **COMMON_ACCEPTED,
    "timestep_type": ("discrete",),
    "interpolation_type": ("linear",),
    "final_sigmas_type": ("zero", "sigma_min"),
    "use_karras_sigmas": OFF,
    "use_exponential_sigmas": OFF,
    "use_beta_sigmas": OFF,
}


def euler(config: Mapping[str, Any], num_inference_steps: int) -> DenoisedForm:
    """Algorithm 2 of Karras et al. 2022 without churn: ``sample + (sample − denoised)/σ · (σ_next − σ)``.

    The sample is ``denoised + σ * epsilon`` here, so it grows with σ; the UNet sees it divided by
    sqrt(σ² + 1).
    """
    options = read_options(config, "EulerDiscreteScheduler", _DEFAULTS, _ACCEPTED)
    bar = alphas_cumprod(options)
    if options["rescale_betas_zero_snr"]:
        bar[-1] = SMALLEST_ALPHA_CUMPROD
    trained = sigmas_of(bar)
    timesteps = _timesteps(options, num_inference_steps)
    here = np.interp(timesteps, np.arange(len(trained)), trained)
    final = trained[0] if options["final_sigmas_type"] == "sigma_min" else 0.0
    ratio = np.append(here[1:], final) / here
    scale = 1 / np.sqrt(here**2 + 1)
    # scale * sample is what denoised_weights calls the sample: its alpha is scale, its sigma here * scale.
    from_scaled, from_output = denoised_weights(options["prediction_type"], scale, here * scale)
    largest = float(here.max())
    spread = options["timestep_spacing"] in ("linspace", "trailing")
    return DenoisedForm(
        timesteps=timesteps,
        denoised_from_sample=from_scaled * scale,
        denoised_from_output=from_output,
        from_sample=ratio,
        from_denoised=1 - ratio,
        input_scale=scale,
        init_noise_sigma=largest if spread else float(np.hypot(largest, 1)),
    )


def _timesteps(options: Mapping[str, Any], count: int) -> np.ndarray:
    """Not rounded to whole numbers when spaced evenly: the UNet is told fractions."""
    total = options["num_train_timesteps"]
    if options["timestep_spacing"] == "linspace":
        return np.linspace(0, total - 1, count, dtype=np.float32)[::-1]
    if options["timestep_spacing"] == "leading":
        return np.arange(count)[::-1] * (total // count) + options["steps_offset"]
    return np.arange(total, 0, -total / count).round()[:count] - 1
