"""Euler's method, as diffusers' ``EulerDiscreteScheduler`` and ``EulerAncestralDiscreteScheduler``.

The sample is ``denoised + σ * epsilon`` here, so it grows with σ; the UNet sees it divided by
sqrt(σ² + 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot_serving.engine.schedulers.options import (
    COMMON_ACCEPTED,
    KARRAS_DEFAULTS,
    OFF,
    ON_OR_OFF,
    TRAINING_DEFAULTS,
    read_options,
)
from packshot_serving.engine.schedulers.prediction import denoised_weights
from packshot_serving.engine.schedulers.schedule import DenoisedForm, LinearForm
from packshot_serving.engine.schedulers.spacing import karras_sigmas, one_step_timesteps, timesteps_of
from packshot_serving.engine.schedulers.training import finite_alphas_cumprod, sigmas_of

_DEFAULTS = {
    **TRAINING_DEFAULTS,
    **KARRAS_DEFAULTS,
    "timestep_spacing": "linspace",
    "timestep_type": "discrete",
    "interpolation_type": "linear",
    "final_sigmas_type": "zero",
}
_ACCEPTED = {
    **COMMON_ACCEPTED,
    "timestep_type": ("discrete",),
    "interpolation_type": ("linear",),
    "final_sigmas_type": ("zero", "sigma_min"),
    "use_karras_sigmas": ON_OR_OFF,
    "use_exponential_sigmas": OFF,
    "use_beta_sigmas": OFF,
}
_ANCESTRAL_DEFAULTS = {**TRAINING_DEFAULTS, "timestep_spacing": "linspace"}
_ANCESTRAL_ACCEPTED = {**COMMON_ACCEPTED, "prediction_type": ("epsilon", "v_prediction")}


def euler(config: Mapping[str, Any], num_inference_steps: int, begin: int) -> LinearForm:
    """Algorithm 2 of Karras et al. 2022 without churn: ``sample + (sample − denoised)/σ · (σ_next − σ)``."""
    options = read_options(config, "EulerDiscreteScheduler", _DEFAULTS, _ACCEPTED)
    bar = finite_alphas_cumprod(options)
    timesteps = one_step_timesteps(options, num_inference_steps, fractional=True)
    trained = sigmas_of(bar)
    sigmas = np.interp(timesteps, np.arange(len(trained)), trained)
    if options["use_karras_sigmas"]:
        rounded = sigmas_of(bar.astype(np.float32))
        highest, lowest = np.interp(timesteps[[0, -1]], np.arange(len(rounded)), rounded)
        sigmas = karras_sigmas(options, highest, lowest, num_inference_steps)
        timesteps = timesteps_of(sigmas, rounded)
    final = trained[0] if options["final_sigmas_type"] == "sigma_min" else 0.0
    return _towards(options, timesteps, sigmas, np.append(sigmas[1:], final)).linear(begin)


def euler_ancestral(config: Mapping[str, Any], num_inference_steps: int, begin: int) -> LinearForm:
    """Ancestral sampling after k-diffusion: Euler to σ_down, then noise of σ_up.

    ``σ_up² = σ_next² (σ² − σ_next²) / σ²`` and ``σ_down² = σ_next² − σ_up²``, so
    ``σ_down = σ_next² / σ``. No noise follows the last step.
    """
    options = read_options(
        config, "EulerAncestralDiscreteScheduler", _ANCESTRAL_DEFAULTS, _ANCESTRAL_ACCEPTED
    )
    timesteps = one_step_timesteps(options, num_inference_steps, fractional=True)
    trained = sigmas_of(finite_alphas_cumprod(options))
    sigmas = np.interp(timesteps, np.arange(len(trained)), trained)
    following = np.append(sigmas[1:], 0.0)
    up = following * np.sqrt(1 - (following / sigmas) ** 2)
    return _towards(options, timesteps, sigmas, following**2 / sigmas, up).linear(begin)


def _towards(
    options: Mapping[str, Any],
    timesteps: np.ndarray,
    sigmas: np.ndarray,
    targets: np.ndarray,
    noise_gain: np.ndarray | None = None,
) -> DenoisedForm:
    """Euler steps from each of ``sigmas`` to each of ``targets``."""
    ratio = targets / sigmas
    scale = 1 / np.sqrt(sigmas**2 + 1)
    # scale * sample is what denoised_weights calls the sample: its alpha is scale, its sigma sigmas * scale.
    from_scaled, from_output = denoised_weights(options["prediction_type"], scale, sigmas * scale)
    largest = float(sigmas.max())
    spread = options["timestep_spacing"] in ("linspace", "trailing")
    return DenoisedForm(
        timesteps=timesteps,
        signal=np.ones_like(sigmas),
        noise=sigmas,
        denoised_from_sample=from_scaled * scale,
        denoised_from_output=from_output,
        from_sample=ratio,
        from_denoised=1 - ratio,
        input_scale=scale,
        init_noise_sigma=largest if spread else float(np.hypot(largest, 1)),
        noise_gain=noise_gain,
    )
