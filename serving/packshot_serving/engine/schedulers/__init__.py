"""Schedulers as linear maps, proved against diffusers' classes.

``ddim``, ``euler`` and ``dpmpp_2m`` compute what ``DDIMScheduler``, ``EulerDiscreteScheduler`` and
``DPMSolverMultistepScheduler`` of diffusers compute when made by ``from_config`` of the
checkpoint's ``scheduler_config.json``, each with its own defaults for what the file leaves out.
Options that would make them compute something else are refused by name.

One difference is meant. With trailing spacing and 61, 103, 121 or 122 steps of 1000 diffusers 0.42
rounds itself one step too many, at timestep −1, which reads the *last* training noise level and
spoils the picture. Here it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from packshot.errors import expected
from packshot_serving.engine.schedulers.ddim import ddim
from packshot_serving.engine.schedulers.dpmsolver import dpmpp_2m
from packshot_serving.engine.schedulers.euler import euler
from packshot_serving.engine.schedulers.schedule import STATE_SIZE, DenoisedForm, Schedule

__all__ = ["SCHEDULES", "STATE_SIZE", "Schedule", "make_schedule"]

SCHEDULES: dict[str, Callable[[Mapping[str, Any], int], DenoisedForm]] = {
    "dpmpp_2m": dpmpp_2m,
    "ddim": ddim,
    "euler": euler,
}


def make_schedule(
    name: str, scheduler_config: Mapping[str, Any], num_inference_steps: int, state_size: int = STATE_SIZE
) -> Schedule:
    """The coefficients of a denoising run.

    Args:
        name: a key of ``SCHEDULES``.
        scheduler_config: the checkpoint's ``scheduler_config.json``.
        num_inference_steps: as in diffusers. The schedule has as many steps, fewer only where
            ``lambda_min_clipped`` cuts the noisiest away.
        state_size: latents in the state, m of the contract.

    Raises:
        InvalidArgument: unknown name, or more steps than the checkpoint has distinct timesteps.
        RepositoryError: an option of the config rules this scheduler out.
    """
    if name not in SCHEDULES:
        raise expected("scheduler", repr(name), "one of " + ", ".join(SCHEDULES))
    trained = scheduler_config.get("num_train_timesteps", 1000)
    if not 1 <= num_inference_steps <= trained:
        raise expected("num_inference_steps", num_inference_steps, f"1 to {trained}, the trained timesteps")
    # Divisions by zero are found below: repeated timesteps and infinite coefficients are refused.
    with np.errstate(divide="ignore", invalid="ignore"):
        form = SCHEDULES[name](scheduler_config, num_inference_steps)
    if not (np.diff(form.timesteps) < 0).all():
        raise expected(
            "num_inference_steps", num_inference_steps, f"fewer: the {trained} trained timesteps would repeat"
        )
    return form.schedule(state_size)
