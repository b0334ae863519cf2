"""Samples, and what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Resamples of a bootstrap, and the share of them that an interval holds.
_RESAMPLES, _SHARE = 2000, 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """Of samples of one kind.

    Attributes:
        count: how many there are.
        median: of them; the other quantiles likewise.
        spread: half the distance between the quartiles, in parts of the median.
    """

    count: int
    median: float
    p90: float
    p99: float
    spread: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of two medians, with what chance alone would make of it.

    Attributes:
        ratio: the second over the first.
        low, high: the interval that holds 95 % of the bootstrap's ratios.
    """

    ratio: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether 1 lies outside the interval."""
        return not self.low <= 1 <= self.high


def summarised(samples: Sequence[float]) -> Summary:
    """The summary of samples.

    Raises:
        ValueError: there are none.
    """
    if not samples:
        raise ValueError("samples: got none, expected at least one")
    low, median, high, p90, p99 = np.quantile(samples, [0.25, 0.5, 0.75, 0.9, 0.99])
    spread = (high - low) / 2 / median if median else 0.0
    return Summary(len(samples), float(median), float(p90), float(p99), float(spread))


def ratio_of(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Ratio:
    """How many times as large the second samples are as the first.

    The interval is a percentile bootstrap of whole blocks: samples next to each other share the
    machine's moods, so they are drawn together (Künsch 1989, moving blocks).

    Args:
        first: in the order of measuring; ``second`` likewise.
        seed: of the bootstrap.
    """
    random = np.random.default_rng(seed)
    medians = [_resampled_medians(np.asarray(samples, float), random) for samples in (first, second)]
    low, high = np.quantile(medians[1] / medians[0], [(1 - _SHARE) / 2, (1 + _SHARE) / 2])
    return Ratio(float(np.median(second) / np.median(first)), float(low), float(high))


def _resampled_medians(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """[_RESAMPLES]; blocks are as long as the square root of the number of samples."""
    count = len(samples)
    length = max(1, round(count**0.5))
    starts = random.integers(0, count - length + 1, (_RESAMPLES, -(-count // length)))
    drawn = samples[(starts[..., None] + np.arange(length)).reshape(_RESAMPLES, -1)[:, :count]]
    return np.median(drawn, axis=1)
