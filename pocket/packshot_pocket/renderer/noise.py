"""Smooth noise, by enlarging small grids of random numbers."""

from __future__ import annotations

import cv2
import numpy as np


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, rows: float, columns: float
) -> np.ndarray:
    """Noise with about ``rows`` × ``columns`` features.

    Returns:
        float32 [height, width], mean about 0, spread about 1.
    """
    grid = rng.standard_normal((max(2, round(rows) + 1), max(2, round(columns) + 1)), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def fractal_noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    features: tuple[float, float],
    octaves: int,
    gain: float = 0.5,
) -> np.ndarray:
    """Octaves of noise, each twice as fine and ``gain`` times as strong.

    Args:
        features: rows and columns of the coarsest octave.

    Returns:
        float32 [height, width], mean about 0, spread about 1.
    """
    total = np.zeros((height, width), np.float32)
    power, strength = 0.0, 1.0
    for octave in range(octaves):
        scale = 2**octave
        total += strength * smooth_noise(rng, height, width, features[0] * scale, features[1] * scale)
        power += strength**2
        strength *= gain
    return total / np.float32(np.sqrt(power))


def grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """White noise: float32 [height, width], spread 1."""
    return rng.standard_normal((height, width), dtype=np.float32)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def triple(values: np.ndarray) -> np.ndarray:
    """A map for every channel: [H, W] → float32 [H, W, 3]. Multiplying by it beats broadcasting."""
    values = values.astype(np.float32, copy=False)
    return cv2.merge((values, values, values))
