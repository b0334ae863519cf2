"""Random outlines: polygons float32 [K, 2] in −1 to 1, x to the right, y down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_Rng = np.random.Generator


def outline(rng: _Rng) -> np.ndarray:
    """One outline of a random kind."""
    return _KINDS[rng.integers(len(_KINDS))](rng)


def ellipse(count: int = 64) -> np.ndarray:
    """The unit circle."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def placed(
    points: np.ndarray, centre: tuple[float, float], size: tuple[float, float], degree: float = 0.0
) -> np.ndarray:
    """Stretched, turned and moved: half width and half height ``size``, all in pixels."""
    angle = np.deg2rad(degree)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return points * size @ turn + centre


def _superellipse(rng: _Rng) -> np.ndarray:
    """From a lens to a rounded box."""
    power = 2 / rng.choice([1.6, 2, 2, 3, 5, 10])
    circle = ellipse(96)
    return np.sign(circle) * np.abs(circle) ** power


def _turned_on_a_lathe(rng: _Rng) -> np.ndarray:
    """Bottles, vases, glasses: the same profile on the left and on the right."""
    knots = int(rng.integers(2, 7))
    heights = np.linspace(-1, 1, 40)
    radii = rng.uniform(0.25, 1, knots)
    if rng.random() < 0.5:
        radii = np.maximum.accumulate(radii)  # narrow above, as a bottle
    at = np.linspace(-1, 1, knots)
    profile = np.interp(heights, at, radii)
    if rng.random() < 0.7:
        kernel = np.hanning(9) / np.hanning(9).sum()
        profile = np.convolve(np.pad(profile, 4, mode="edge"), kernel, mode="valid")
    right = np.stack([profile / profile.max(), heights], axis=1)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _blob(rng: _Rng) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, int(rng.integers(3, 8))):
        radius += rng.normal(0, 0.35 / wave) * np.cos(wave * angle + rng.uniform(0, 6.3))
    radius = np.maximum(radius, 0.2)
    points = ellipse(96) * radius[:, None]
    return points / np.abs(points).max(axis=0)


def _polygon(rng: _Rng) -> np.ndarray:
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.5, 1, (len(angle), 1))
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    return points / np.maximum(np.abs(points).max(axis=0), 0.2)


def _spoon(rng: _Rng) -> np.ndarray:
    """A thin handle with a head: spoons, brushes, bulbs."""
    neck, head = rng.uniform(0.06, 0.25), rng.uniform(0.2, 0.5)
    heights = np.linspace(-1, 1, 60)
    middle = 1 - head
    bowl = np.sqrt(np.clip(1 - ((heights - middle) / head) ** 2, 0, 1))
    profile = np.maximum(neck, bowl)
    right = np.stack([profile, heights], axis=1)
    return np.concatenate([right, right[::-1] * (-1, 1)])


_KINDS: tuple[Callable[[_Rng], np.ndarray], ...] = (
    _superellipse, _superellipse, _turned_on_a_lathe, _turned_on_a_lathe, _blob, _polygon, _spoon,
)  # fmt: skip
