"""Prompts as people give them: clicks on a thing, and boxes that are roughly right."""

from __future__ import annotations

import cv2
import numpy as np

_Rng = np.random.Generator


def click(rng: _Rng, mask: np.ndarray) -> tuple[float, float]:
    """A point on a mask.

    Half of the clicks fall anywhere on it, half well inside, where people aim.

    Args:
        mask: bool [H, W] with at least one pixel.

    Returns:
        x, y in pixels.
    """
    if rng.random() < 0.5:
        padded = np.pad(mask.astype(np.uint8), 1)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
        mask = depth >= 0.5 * depth.max()
    places = np.flatnonzero(mask)
    y, x = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
    return float(x), float(y)


def near_miss(rng: _Rng, mask: np.ndarray, reach: float = 0.15) -> tuple[float, float] | None:
    """A point beside a mask, within ``reach`` of the square's side; None if there is no room."""
    pixels = max(3, round(reach * max(mask.shape)))
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    beside = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~mask
    return click(rng, beside) if beside.any() else None


def rough_box(
    rng: _Rng, mask: np.ndarray, slack: float = 0.06, exact: float = 0.5
) -> tuple[float, float, float, float]:
    """A box round a mask, its sides off by some of the box' own size; outwards more often than inwards.

    Args:
        mask: bool [H, W] with at least one pixel.
        slack: spread of an edge's error, as a part of the box' width or height.
        exact: how often a box has no error.

    Returns:
        x0, y0, x1, y1 in pixels, at least 2 apart, inside the picture.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    out = np.clip(rng.normal(0.3 * slack, slack, 4), -1.5 * slack, 3 * slack) * (rng.random() >= exact)
    width, height = x1 - x0, y1 - y0
    left, right = max(x0 - out[0] * width, 0), min(x1 + out[1] * width, mask.shape[1])
    top, bottom = max(y0 - out[2] * height, 0), min(y1 + out[3] * height, mask.shape[0])
    return float(left), float(top), float(max(right, left + 2)), float(max(bottom, top + 2))
