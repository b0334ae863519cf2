"""A picture to learn from: what can be selected on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Region:
    """One thing that a prompt can mean.

    Attributes:
        mask: bool [H, W], its visible pixels. (On a sample, uint8: how much of each pixel it covers.)
        parts: the same of what a click on it may mean instead: a cap, a saucer.
    """

    mask: np.ndarray
    parts: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with at least one region.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        regions: in no order; they may overlap, as a group of things and its members do.
    """

    image: np.ndarray
    regions: tuple[Region, ...]
