"""Pseudo linear multistep (PLMS) of fourth order, as diffusers' ``PNDMScheduler`` without PRK steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot_serving.engine.schedulers.options import COMMON_ACCEPTED, OFF, TRAINING_DEFAULTS, read_options
from packshot_serving.engine.schedulers.schedule import LinearForm
from packshot_serving.engine.schedulers.spacing import one_step_timesteps
from packshot_serving.engine.schedulers.training import alphas_cumprod, trained_at

_DEFAULTS = {
    **TRAINING_DEFAULTS,
    "timestep_spacing": "leading",
    "skip_prk_steps": False,
    "set_alpha_to_one": False,
}
_ACCEPTED = {
    **COMMON_ACCEPTED,
    "prediction_type": ("epsilon", "v_prediction"),
    # Runge–Kutta steps would need two more latents of history; checkpoints for pictures skip them.
    "skip_prk_steps": (True,),
    # diffusers' class does not know the option, and would denoise with betas that were not trained.
    "rescale_betas_zero_snr": OFF,
}
#: Adams–Bashforth weights of this output and the last ones, at each call of a run; the last repeats.
#: The second call is Heun's: it starts again from the first sample, which waits in state[2].
_WEIGHTS = (
    np.array([1, 0, 0, 0]),
    np.array([1, 1, 0, 0]) / 2,
    np.array([3, -1, 0, 0]) / 2,
    np.array([23, -16, 5, 0]) / 12,
    np.array([55, -59, 37, -9]) / 24,
)


def pndm(config: Mapping[str, Any], num_inference_steps: int, begin: int) -> LinearForm:
    """Liu et al. 2022 (PNDM): formula 9 for the sample, 12 and 13 for the outputs.

    As in diffusers the second timestep is called twice: N steps are N + 1 calls, but 1 is 1. A run
    that begins at a later call (strength < 1) begins with the one-step method there, and its second
    call is Heun's, as in diffusers. So a start at the first of the two equal calls takes the step
    to that timestep from a sample that is there already.
    """
    options = read_options(config, "PNDMScheduler", _DEFAULTS, _ACCEPTED)
    bar = alphas_cumprod(options)
    distinct = one_step_timesteps(options, num_inference_steps)
    timesteps = np.concatenate([distinct[:1], distinct[1:2], distinct[1:]])
    stride = options["num_train_timesteps"] // num_inference_steps
    source, target = timesteps.copy(), timesteps - stride
    second = slice(begin + 1, begin + 2)
    source[second], target[second] = timesteps[second] + stride, timesteps[second]
    last = 1.0 if options["set_alpha_to_one"] else bar[0]
    from_sample, from_output = _transfer(
        options["prediction_type"], trained_at(bar, source, last), trained_at(bar, target, last)
    )
    transition, gain = _maps(from_sample, from_output, begin)
    here = trained_at(bar, timesteps, last)
    return LinearForm(timesteps, transition, gain, signal=np.sqrt(here), noise=np.sqrt(1 - here))


def _transfer(kind: str, here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of sample and model output in the sample at ``there``, both given as cumulative alphas."""
    denominator = here * np.sqrt(1 - there) + np.sqrt(here * (1 - here) * there)
    from_sample, from_epsilon = np.sqrt(there / here), -(there - here) / denominator
    if kind == "v_prediction":
        return from_sample + from_epsilon * np.sqrt(1 - here), from_epsilon * np.sqrt(here)
    return from_sample, from_epsilon


def _maps(from_sample: np.ndarray, from_output: np.ndarray, begin: int) -> tuple[np.ndarray, np.ndarray]:
    """Transition and gain over [sample, last output, the one before, the one before that]."""
    count = len(from_sample)
    calls = np.minimum(np.maximum(np.arange(count) - begin, 0), len(_WEIGHTS) - 1)
    weights = np.array(_WEIGHTS)[calls] * from_output[:, None]
    transition, gain = np.zeros((count, 4, 4)), np.zeros((count, 4))
    gain[:, 0], transition[:, 0, 1:] = weights[:, 0], weights[:, 1:]
    transition[:, 0, 0] = from_sample
    gain[:, 1] = transition[:, 2, 1] = transition[:, 3, 2] = 1.0
    transition[begin, 2:] = 0.0
    transition[begin, 2, 0] = 1.0  # keeps the first sample for the second call
    if begin + 1 < count:
        # The second call's output is not remembered, and its sample is the first one.
        transition[begin + 1, 0, [0, 2]] = 0.0, from_sample[begin + 1]
        transition[begin + 1, 1:], gain[begin + 1, 1:] = 0.0, 0.0
        transition[begin + 1, 1, 1] = 1.0
    return transition, gain
