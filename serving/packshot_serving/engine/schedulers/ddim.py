"""DDIM without noise (eta 0), as diffusers' ``DDIMScheduler``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot_serving.engine.schedulers.options import COMMON_ACCEPTED, OFF, TRAINING_DEFAULTS, read_options
from packshot_serving.engine.schedulers.prediction import denoised_weights
from packshot_serving.engine.schedulers.schedule import DenoisedForm, LinearForm
from packshot_serving.engine.schedulers.spacing import one_step_timesteps
from packshot_serving.engine.schedulers.training import alphas_cumprod, trained_at

_DEFAULTS = {
    **TRAINING_DEFAULTS,
    "timestep_spacing": "leading",
    "clip_sample": True,
    "thresholding": False,
    "set_alpha_to_one": True,
}
# Clipping and thresholding are not linear. Latent checkpoints do without: theirs say clip_sample false.
_ACCEPTED = {**COMMON_ACCEPTED, "clip_sample": OFF, "thresholding": OFF}


def ddim(config: Mapping[str, Any], num_inference_steps: int, begin: int) -> LinearForm:
    """Equation 12 of Song et al. 2020 (DDIM) with sigma 0."""
    options = read_options(config, "DDIMScheduler", _DEFAULTS, _ACCEPTED)
    bar = alphas_cumprod(options)
    timesteps = one_step_timesteps(options, num_inference_steps)
    previous = timesteps - options["num_train_timesteps"] // num_inference_steps
    last = 1.0 if options["set_alpha_to_one"] else bar[0]
    bar_here, bar_next = trained_at(bar, timesteps, last), trained_at(bar, previous, last)
    alpha, sigma = np.sqrt(bar_here), np.sqrt(1 - bar_here)
    from_sample, from_output = denoised_weights(options["prediction_type"], alpha, sigma)
    # The direction to the next sample is sqrt(1 − ᾱ_next) * (sample − alpha * denoised) / sigma.
    direction = np.sqrt(1 - bar_next) / sigma
    return DenoisedForm(
        timesteps=timesteps,
        signal=alpha,
        noise=sigma,
        denoised_from_sample=from_sample,
        denoised_from_output=from_output,
        from_sample=direction,
        from_denoised=np.sqrt(bar_next) - direction * alpha,
    ).linear(begin)
