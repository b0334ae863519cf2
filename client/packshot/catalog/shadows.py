"""Shadows of products on plain backgrounds; in a painted scene the model paints them."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

Shadow = Literal["none", "soft"]

#: Of the product's height: how far the shadow falls, and how soft it is.
_DROP, _BLUR = 0.02, 0.03
_DARKNESS = 0.35


def soft_shadow(background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A plain background with the product's shadow on it: its outline, lower and blurred.

    Args:
        background: uint8 [H, W, 3].
        alpha: uint8 [H, W] of the product.

    Returns:
        uint8 [H, W, 3]; the same on every machine for the same arguments up to OpenCV's rounding.
    """
    rows = np.flatnonzero(alpha.any(axis=1))
    height = int(rows[-1] - rows[0]) + 1
    drop = max(1, round(height * _DROP))
    fallen = np.zeros_like(alpha)
    fallen[drop:] = alpha[:-drop]
    shadow = cv2.GaussianBlur(fallen, (0, 0), max(1.0, height * _BLUR)).astype(np.float32) / 255
    return np.rint(background * (1 - _DARKNESS * shadow[..., None])).astype(np.uint8)
