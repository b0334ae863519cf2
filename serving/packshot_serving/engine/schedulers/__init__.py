"""Schedulers as linear maps, proved against diffusers' classes.

Each computes what the class of diffusers beside it computes when made by ``from_config`` of the
checkpoint's ``scheduler_config.json``, with the class's own defaults for what the file leaves out:

==================  =====================================
``dpmpp_2m``        ``DPMSolverMultistepScheduler``
``ddim``            ``DDIMScheduler``, eta 0
``euler``           ``EulerDiscreteScheduler``
``euler_ancestral`` ``EulerAncestralDiscreteScheduler``, its noise from the request's own seed
``unipc``           ``UniPCMultistepScheduler``
``pndm``            ``PNDMScheduler``, N + 1 calls for N steps
==================  =====================================

``dpmpp_2m_karras``, ``euler_karras`` and ``unipc_karras`` are made with ``use_karras_sigmas=True``; the
names without follow the file. Options that would make a class compute something else are refused
by name.

One difference is meant. With trailing spacing and 61, 103, 121 or 122 steps of 1000 diffusers 0.42
rounds itself one step too many, at timestep −1, which ``ddim`` and ``pndm`` read as the *last*
training noise level, and the picture is spoilt. Here it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot.errors import expected
from packshot.parameters import first_step
from packshot_serving.engine.schedulers.ddim import ddim
from packshot_serving.engine.schedulers.dpmsolver import dpmpp_2m
from packshot_serving.engine.schedulers.euler import euler, euler_ancestral
from packshot_serving.engine.schedulers.pndm import pndm
from packshot_serving.engine.schedulers.schedule import STATE_SIZE, Build, LinearForm, Schedule
from packshot_serving.engine.schedulers.unipc import unipc

__all__ = ["SCHEDULES", "STATE_SIZE", "Schedule", "make_schedule"]


def _with_karras_sigmas(build: Build) -> Build:
    """``from_config(config, use_karras_sigmas=True)``."""

    def build_with_karras_sigmas(config: Mapping[str, Any], count: int, begin: int) -> LinearForm:
        assumed = [name for name in config.get("_use_default_values") or () if name != "use_karras_sigmas"]
        return build({**config, "use_karras_sigmas": True, "_use_default_values": assumed}, count, begin)

    return build_with_karras_sigmas


SCHEDULES: dict[str, Build] = {
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_karras": _with_karras_sigmas(dpmpp_2m),
    "ddim": ddim,
    "euler": euler,
    "euler_karras": _with_karras_sigmas(euler),
    "euler_ancestral": euler_ancestral,
    "unipc": unipc,
    "unipc_karras": _with_karras_sigmas(unipc),
    "pndm": pndm,
}


def make_schedule(
    name: str,
    scheduler_config: Mapping[str, Any],
    num_inference_steps: int,
    strength: float = 1.0,
) -> Schedule:
    """The coefficients of a denoising run.

    Args:
        name: a key of ``SCHEDULES``.
        scheduler_config: the checkpoint's ``scheduler_config.json``.
        num_inference_steps: as in diffusers. At strength 1 the schedule has as many steps, one more
            with ``pndm`` (except for 1), and fewer only where ``lambda_min_clipped`` cuts the noisiest
            away.
        strength: above 0, to 1. Below 1 the run starts from a given picture with noise added, at
            :func:`packshot.parameters.first_step` (every class here has order 1).

    Raises:
        InvalidArgument: unknown name, more steps than the checkpoint has distinct timesteps, or a
            strength that leaves no step.
        RepositoryError: an option of the config rules this scheduler out.
    """
    if name not in SCHEDULES:
        raise expected("scheduler", repr(name), "one of " + ", ".join(SCHEDULES))
    trained = scheduler_config.get("num_train_timesteps", 1000)
    if not 1 <= num_inference_steps <= trained:
        raise expected("num_inference_steps", num_inference_steps, f"1 to {trained}, the trained timesteps")
    if not 0 < strength <= 1:
        raise expected("strength", strength, "above 0, to 1")
    begin = first_step(num_inference_steps, strength)
    # Divisions by zero are found below: infinite coefficients are refused.
    with np.errstate(divide="ignore", invalid="ignore"):
        form = SCHEDULES[name](scheduler_config, num_inference_steps, begin)
        return form.schedule(begin, from_picture=strength < 1)
