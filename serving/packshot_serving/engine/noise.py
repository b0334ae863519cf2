"""The noise that a request is made from: a function of its seed and shape, frozen forever.

The generator is numpy's ``RandomState`` (MT19937, polar Box–Muller), seeded with a list of 32-bit
words. NEP 19 freezes its stream, unlike that of ``Generator``, so a seed means the same picture
with every numpy version and on every machine. Values are drawn as float64 in C order and rounded to
float32.
"""

from __future__ import annotations

import numpy as np

from packshot.parameters import check_seed
from packshot_serving.engine.schedulers import Schedule


def initial_noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise that the first sample is made from.

    The generator is seeded with the seed's low and high 32 bits in this order.

    Args:
        seed: 0 to 2^63 − 1.
        shape: of the result, for latents [C, h, w].

    Returns:
        float32 array of ``shape``.

    Raises:
        InvalidArgument: the seed is out of range.
    """
    check_seed(seed)
    return _standard_normal([*_words(seed)], shape)


def step_noise(seed: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise that an ancestral scheduler adds after a step.

    The generator is seeded with three words: the seed's low and high 32 bits and the step. MT19937
    mixes the number of words in, so no step repeats the noise that a request begins with. Each
    step's noise stands alone: it can be drawn without that of the steps before.

    Args:
        seed: 0 to 2^63 − 1.
        step: steps of the run that were taken before this one, 0 to 2^32 − 1.
        shape: of the result, for latents [C, h, w].

    Returns:
        float32 array of ``shape``.

    Raises:
        InvalidArgument: the seed is out of range.
    """
    check_seed(seed)
    return _standard_normal([*_words(seed), step], shape)


def add_step_noise(state: np.ndarray, schedule: Schedule, seed: int, step: int) -> np.ndarray:
    """The state after a step, with the fresh noise that the scheduler wants.

    Args:
        state: float32 [m, C, h, w], as the step graph computed it.
        schedule: of the request.
        seed: of the request.
        step: steps of the run that were taken before this one.

    Returns:
        float32 [m, C, h, w]; ``state`` itself where no noise is wanted, else a new array.
    """
    if schedule.noise_gain is None or not adds_noise(schedule, step):
        return state
    noise = step_noise(seed, step, state.shape[1:])
    return state + schedule.noise_gain[step].reshape(-1, *[1] * noise.ndim) * noise


def adds_noise(schedule: Schedule, step: int) -> bool:
    """Whether the scheduler wants fresh noise after a step."""
    return schedule.noise_gain is not None and bool(schedule.noise_gain[step].any())


def _words(seed: int) -> tuple[int, int]:
    return seed & 0xFFFFFFFF, seed >> 32


def _standard_normal(words: list[int], shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(words).standard_normal(shape).astype(np.float32)
