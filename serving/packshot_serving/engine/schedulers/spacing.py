"""Which timesteps and noise levels a run visits.

After Table 2 of Lin et al. 2023 (leading, trailing, linspace) and equation 5 of Karras et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot.errors import expected

#: The exponent of Karras et al. 2022.
_RHO = 7.0


def one_step_timesteps(options: Mapping[str, Any], count: int, fractional: bool = False) -> np.ndarray:
    """As DDIM, PNDM and Euler of diffusers: evenly spaced ones end at timestep 0.

    Args:
        options: of the scheduler.
        count: num_inference_steps.
        fractional: as Euler, whose UNet is told fractions when they are evenly spaced.

    Raises:
        InvalidArgument: timesteps would repeat.
    """
    total = options["num_train_timesteps"]
    if options["timestep_spacing"] == "linspace":
        if fractional:
            return _distinct(np.linspace(0, total - 1, count, dtype=np.float32)[::-1], total, count)
        timesteps = np.linspace(0, total - 1, count).round()[::-1]
    elif options["timestep_spacing"] == "leading":
        timesteps = np.arange(count)[::-1] * (total // count) + options["steps_offset"]
    else:
        timesteps = _trailing(total, total, count)
    return _distinct(timesteps.astype(np.int64), total, count)


def multistep_timesteps(options: Mapping[str, Any], count: int, last: int) -> np.ndarray:
    """As DPM-Solver++ and UniPC of diffusers: evenly spaced ones end one step before timestep 0.

    Args:
        options: of the scheduler.
        count: num_inference_steps.
        last: one past the noisiest timestep.

    Raises:
        InvalidArgument: timesteps would repeat.
    """
    total = options["num_train_timesteps"]
    if options["timestep_spacing"] == "linspace":
        timesteps = np.linspace(0, last - 1, count + 1).round()[::-1][:-1]
    elif options["timestep_spacing"] == "leading":
        timesteps = np.arange(count + 1)[::-1][:-1] * (last // (count + 1)) + options["steps_offset"]
    else:
        timesteps = _trailing(last, total, count)
    return _distinct(timesteps.astype(np.int64), total, count)


def karras_sigmas(options: Mapping[str, Any], highest: float, lowest: float, count: int) -> np.ndarray:
    """``_convert_to_karras`` of diffusers: evenly spaced in sigma^(1/7), noisiest first."""
    high, low = options["sigma_max"], options["sigma_min"]
    start, end = (
        (given if given is not None else default) ** (1 / _RHO)
        for given, default in ((high, highest), (low, lowest))
    )
    return (start + np.linspace(0, 1, count) * (end - start)) ** _RHO


def timesteps_of(sigmas: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """``_sigma_to_t`` of diffusers: where log sigma lies among the trained ones, as float64.

    Args:
        sigmas: float64 [N].
        trained: noise over signal of every timestep as float32, rising.
    """
    # float32, as diffusers with numpy 1: where the result is cut down to a whole number, the last
    # bit decides whether the highest sigma is timestep 999 or 998.
    levels, wanted = np.log(trained), np.log(np.maximum(sigmas, 1e-10)).astype(np.float32)
    low = np.clip(np.searchsorted(levels, wanted, side="right") - 1, 0, len(levels) - 2)
    weight = np.clip((levels[low] - wanted) / (levels[low] - levels[low + 1]), 0, 1)
    return (1 - weight) * low + weight * (low + 1)


def _trailing(last: int, total: int, count: int) -> np.ndarray:
    timesteps = np.arange(last, 0, -total / count).round() - 1
    return timesteps[timesteps >= 0]  # diffusers goes on to −1 at 61, 103, 121 and 122 of 1000


def _distinct(timesteps: np.ndarray, total: int, count: int) -> np.ndarray:
    if not (np.diff(timesteps) < 0).all():
        raise expected("num_inference_steps", count, f"fewer: the {total} trained timesteps would repeat")
    return timesteps
