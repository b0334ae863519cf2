"""Samples, and what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

#: How often an interval holds what it is of.
_SHARE = 0.95


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
    """Of the times of two subjects, or of one in two runs, with what chance alone would make of it.

    Attributes:
        ratio: the second over the first, of the geometric means of their rounds' numbers.
        low, high: the interval that holds the true one in 95 % of all cases; 0 and infinity where a single
            round tells nothing of chance.
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


def ratio_of(first: Sequence[float], second: Sequence[float], *, paired: bool = False) -> Ratio:
    """How many times as large the second is as the first, from one number of each round.

    Samples of one round share a start of the servers and a mood of the machine, so that they tell nothing
    of how far another round would be from them: the rounds are what chance is counted in (Kalibera and
    Jones 2013, "Rigorous Benchmarking in Reasonable Time"). The interval is Student's of their logarithms;
    Welch's, as the two may differ in spread, or that of the differences if they are pairs.

    Args:
        first: a positive number for each round, say its median; ``second`` likewise.
        paired: both were measured in the same rounds.

    Raises:
        ValueError: one of them is empty, or they are pairs and not as many.
    """
    if not first or not second:
        raise ValueError("rounds: got none, expected at least one")
    logs = [np.log(first), np.log(second)]
    if paired:
        if len(first) != len(second):
            raise ValueError(f"pairs: got {len(first)} and {len(second)} rounds, expected as many")
        logs = [logs[1] - logs[0]]
    middle = float(logs[-1].mean() - (0.0 if paired else logs[0].mean()))
    if min(map(len, logs)) < 2:
        return Ratio(float(np.exp(middle)), 0.0, float("inf"))
    variances = np.array([each.var(ddof=1) / len(each) for each in logs])
    freedom = np.array([len(each) - 1 for each in logs])
    variance = variances.sum()
    # Welch and Satterthwaite's degrees of freedom; of pairs, one less than there are.
    degrees = variance**2 / (variances**2 / freedom).sum() if variance else freedom.sum()
    reach = stdtrit(degrees, (1 + _SHARE) / 2) * variance**0.5
    low, ratio, high = np.exp([middle - reach, middle, middle + reach])
    return Ratio(float(ratio), float(low), float(high))
