"""Random numbers that know which split they are drawn for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from packshot_pocket.renderer.scene import Split

Item = TypeVar("Item")

_SPLIT_KEYS: dict[Split, int] = {"train": 0x7A, "held_out": 0x4E}
#: A shape parameter's range is cut into cells; the middle fifth of each cell is held out, so both
#: splits span the whole range and no value of one occurs in the other.
_CELLS = 5
_HELD_OUT_SHARE = 0.2
_TEXTURE_SEEDS = 1 << 31


class Dice:
    """One scene's source of randomness.

    Args:
        seed: of the scene, at least 0. The same seed means other scenes in another split.
        split: see :data:`packshot_pocket.renderer.scene.Split`.
        stream: separates renderers that share seeds.
    """

    def __init__(self, seed: int, split: Split, stream: int) -> None:
        self.split: Split = split
        self.rng = np.random.Generator(np.random.PCG64([_SPLIT_KEYS[split], stream, seed]))

    def uniform(self, low: float, high: float) -> float:
        """A number that both splits draw alike: light, camera, colour."""
        return float(low + (high - low) * self.rng.random())

    def shape(self, low: float, high: float) -> float:
        """A shape parameter: the splits draw from disjoint bands of the range."""
        cell, within = self.rng.integers(_CELLS), self.rng.random()
        edge = (1 - _HELD_OUT_SHARE) / 2
        if self.split == "held_out":
            place = edge + _HELD_OUT_SHARE * within
        else:
            place = within * 2 * edge
            place += _HELD_OUT_SHARE * (place >= edge)
        return float(low + (high - low) * (cell + place) / _CELLS)

    def texture(self) -> np.random.Generator:
        """A generator for one texture; training and held-out texture seeds never meet."""
        seed = int(self.rng.integers(_TEXTURE_SEEDS))
        seed += _TEXTURE_SEEDS * (self.split == "held_out")
        return np.random.Generator(np.random.PCG64(seed))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def choice(self, items: Sequence[Item]) -> Item:
        """One of them."""
        return items[int(self.rng.integers(len(items)))]

    def normal(self, spread: float) -> float:
        """A normal number around 0."""
        return float(spread * self.rng.standard_normal())
