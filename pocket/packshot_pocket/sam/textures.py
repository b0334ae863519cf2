"""Surfaces for anything: what the network must not mistake for an outline."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

_Rng = np.random.Generator


def palette(rng: _Rng) -> np.ndarray:
    """Colours of one picture: float32 [6, 3], 0 to 255.

    Few and muted, so that often a thing and what it stands on have almost the same.
    """
    hue = rng.uniform(0, 360, 6)
    if rng.random() < 0.5:
        hue = hue[0] + rng.normal(0, 25, 6)
    hsv = np.stack([hue % 360, rng.beta(1.2, 1.8, 6), rng.beta(1.6, 1.2, 6)], axis=1)
    return 255 * cv2.cvtColor(hsv.astype(np.float32)[None], cv2.COLOR_HSV2RGB)[0]


def surface(rng: _Rng, size: int, colours: np.ndarray) -> np.ndarray:
    """A random surface: float32 [size, size, 3], 0 to 255, mostly.

    Args:
        colours: the picture's :func:`palette`.
    """
    first = colours[rng.integers(len(colours))] + rng.normal(0, 8, 3)
    # Often two shades of one colour, as wood and cloth are.
    other = colours[rng.integers(len(colours))]
    second = first * rng.uniform(0.4, 1.5) if rng.random() < 0.7 else other
    pattern = _PATTERNS[rng.choice(len(_PATTERNS), p=_SHARES)](rng, size)
    pattern += rng.uniform(0, 0.06) * rng.standard_normal((size, size), np.float32)
    return first.astype(np.float32) + pattern[..., None] * (second - first).astype(np.float32)


def clouds(rng: _Rng, size: int, stretch: float = 1.0, roughness: float | None = None) -> np.ndarray:
    """Noise of many scales: float32 [size, size], 0 to 1.

    Args:
        stretch: how much longer its features are across than down.
        roughness: weight of an octave over that of the one twice as coarse; drawn if None.
    """
    roughness = rng.uniform(0.35, 0.95) if roughness is None else roughness
    total, weight = np.zeros((size, size), np.float32), 1.0
    cells = int(rng.integers(2, 5))
    while cells < size:
        across = max(2, round(cells / stretch))
        grid = rng.standard_normal((cells, across), np.float32)
        total += np.float32(weight) * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        cells, weight = 2 * cells, weight * roughness
    low, high = np.quantile(total[::4, ::4], (0.02, 0.98))
    return np.clip((total - low) / np.float32(max(high - low, 1e-6)), 0, 1)


def turned(pattern: np.ndarray, degree: float) -> np.ndarray:
    """A pattern turned about its middle, enlarged so that no corner is empty."""
    size = pattern.shape[0]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), degree, 1.45)
    return cv2.warpAffine(pattern, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)


def _plain(rng: _Rng, size: int) -> np.ndarray:
    return np.full((size, size), rng.uniform(0, 1), np.float32)


def _slope(rng: _Rng, size: int) -> np.ndarray:
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    return turned(np.repeat(ramp[None], size, axis=0), rng.uniform(0, 360))


def _grain(rng: _Rng, size: int) -> np.ndarray:
    """Wood: long fibres, and sometimes boards."""
    fibres = clouds(rng, size, stretch=rng.uniform(6, 30))
    if rng.random() < 0.5:
        board = int(rng.integers(size // 8, size // 2))
        rows = np.arange(size) // board
        fibres = np.clip(fibres + rng.uniform(-0.3, 0.3, rows.max() + 1)[rows][:, None], 0, 1)
        fibres[np.arange(size) % board == 0] *= rng.uniform(0.2, 1)
    return turned(fibres.astype(np.float32), rng.uniform(0, 360))


def _stripes(rng: _Rng, size: int) -> np.ndarray:
    waves = np.sin(np.arange(size) * rng.uniform(0.05, 1.2) + rng.uniform(0, 6))
    sharp = np.clip(0.5 + waves * rng.uniform(0.4, 5), 0, 1).astype(np.float32)
    return turned(np.repeat(sharp[None], size, axis=0), rng.uniform(0, 360))


def _tiles(rng: _Rng, size: int) -> np.ndarray:
    side, joint = rng.integers(10, size // 3), rng.integers(1, 4)
    place = np.arange(size)
    checks = (place[:, None] // side + place[None] // side) % 2 * rng.uniform(0, 0.6)
    joints = (place[:, None] % side < joint) | (place[None] % side < joint)
    return turned(np.where(joints, 1, checks).astype(np.float32), rng.uniform(0, 90))


def _spots(rng: _Rng, size: int) -> np.ndarray:
    pattern = np.zeros((size, size), np.float32)
    radius = int(rng.integers(2, 14))
    for x, y in rng.integers(0, size, (int(rng.integers(5, 60)), 2)):
        cv2.circle(pattern, (int(x), int(y)), radius, float(rng.uniform(0.4, 1)), -1, cv2.LINE_AA)
    return pattern


_PATTERNS: tuple[Callable[[_Rng, int], np.ndarray], ...] = (
    _plain, clouds, _grain, _slope, _stripes, _tiles, _spots,
)  # fmt: skip
_SHARES = (0.24, 0.24, 0.2, 0.14, 0.06, 0.06, 0.06)
