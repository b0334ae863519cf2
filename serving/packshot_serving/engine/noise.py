"""The noise that a request starts from: a function of its seed and shape, frozen forever."""

from __future__ import annotations

import numpy as np

from packshot.parameters import check_seed


def initial_noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise.

    The generator is numpy's ``RandomState`` (MT19937, polar Box–Muller), seeded with the seed's
    low and high 32 bits in this order. NEP 19 freezes its stream, unlike that of ``Generator``,
    so a seed means the same picture with every numpy version and on every machine. Values are
    drawn as float64 in C order and rounded to float32.

    Args:
        seed: 0 to 2^63 − 1.
        shape: of the result, for latents [C, h, w].

    Returns:
        float32 array of ``shape``.

    Raises:
        InvalidArgument: the seed is out of range.
    """
    check_seed(seed)
    generator = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
    return generator.standard_normal(shape).astype(np.float32)
