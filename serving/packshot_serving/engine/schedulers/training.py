"""The noise levels a checkpoint was trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot.errors import RepositoryError

#: What diffusers' Euler, DPM-Solver and UniPC put for a cumulative alpha of zero, so that sigma is finite.
SMALLEST_ALPHA_CUMPROD = 2.0**-24


def alphas_cumprod(options: Mapping[str, Any]) -> np.ndarray:
    """Cumulative products of 1 − beta, as float64 [num_train_timesteps].

    diffusers computes betas and their products in float32 and near the data end little is left of
    1 − alpha at that precision. So the same roundings are made here; everything after this is
    float64.
    """
    betas = _betas(options)
    if options["rescale_betas_zero_snr"]:
        betas = _rescaled_to_zero_terminal_snr(betas)
    return _cumulative_product(np.float32(1) - betas).astype(np.float64)


def finite_alphas_cumprod(options: Mapping[str, Any]) -> np.ndarray:
    """``alphas_cumprod``, but not zero at the noisiest timestep: as the classes that divide by it."""
    bar = alphas_cumprod(options)
    if options["rescale_betas_zero_snr"]:
        bar[-1] = SMALLEST_ALPHA_CUMPROD
    return bar


def trained_at(bar: np.ndarray, timesteps: np.ndarray, last: float) -> np.ndarray:
    """The cumulative alphas of some timesteps; ``last`` where the data end is passed.

    Raises:
        RepositoryError: ``steps_offset`` moves a timestep past the trained ones.
    """
    if timesteps.max() >= len(bar):
        raise RepositoryError(
            f"scheduler_config.json: steps_offset: timestep {timesteps.max()} of this many steps is past "
            f"the {len(bar)} trained ones, expected a smaller offset or fewer steps"
        )
    return np.where(timesteps >= 0, bar[np.maximum(timesteps, 0)], last)


def sigmas_of(alphas: np.ndarray) -> np.ndarray:
    """Noise over signal, sqrt((1 − ᾱ) / ᾱ)."""
    return np.sqrt((1 - alphas) / alphas)


def _betas(options: Mapping[str, Any]) -> np.ndarray:
    if options["trained_betas"] is not None:
        return np.asarray(options["trained_betas"], np.float32)
    start, end, count = options["beta_start"], options["beta_end"], options["num_train_timesteps"]
    if options["beta_schedule"] == "linear":
        return _linspace(start, end, count)
    if options["beta_schedule"] == "scaled_linear":
        return _linspace(math.sqrt(start), math.sqrt(end), count) ** 2
    return _cosine_betas(count)


def _linspace(start: float, end: float, count: int) -> np.ndarray:
    """torch.linspace in float32, which counts from both ends towards the middle."""
    first, last = np.float32(start), np.float32(end)
    step = (last - first) / np.float32(max(count - 1, 1))
    index = np.arange(count, dtype=np.float32)
    return np.where(index < count // 2, first + step * index, last - step * (count - 1 - index)).astype(
        np.float32
    )


def _cosine_betas(count: int, max_beta: float = 0.999) -> np.ndarray:
    """``betas_for_alpha_bar`` of diffusers (squaredcos_cap_v2), after Nichol and Dhariwal 2021."""
    bar = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * math.pi / 2) ** 2
    return np.minimum(1 - bar[1:] / bar[:-1], max_beta).astype(np.float32)


def _rescaled_to_zero_terminal_snr(betas: np.ndarray) -> np.ndarray:
    """``rescale_zero_terminal_snr`` of diffusers, after Lin et al. 2023, Algorithm 1."""
    root = np.sqrt(_cumulative_product(np.float32(1) - betas))
    first, last = root[0], root[-1]
    bar = ((root - last) * (first / (first - last))) ** 2
    return np.float32(1) - np.concatenate([bar[:1], bar[1:] / bar[:-1]])


def _cumulative_product(alphas: np.ndarray) -> np.ndarray:
    """torch.cumprod of float32: the running product is kept in float64."""
    return np.cumprod(alphas.astype(np.float64)).astype(np.float32)
