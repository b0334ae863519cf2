"""What arrives: random requests at a given rate, the same for every server that is compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packshot.parameters import CATALOGUE, INTERACTIVE


@dataclass(frozen=True, slots=True)
class Traffic:
    """A mix of requests that arrive independently (a Poisson process).

    Attributes:
        steps: ``(num_inference_steps, share)``; the shares are relative weights.
        lanes: number of canvas sizes, each as likely as the others.
        catalogue_share: of the requests with priority 2.
        count: requests of one run.
    """

    steps: tuple[tuple[int, float], ...] = ((25, 1.0),)
    lanes: int = 1
    catalogue_share: float = 0.0
    count: int = 4000

    @property
    def mean_steps(self) -> float:
        """Steps of a request on average."""
        return sum(steps * share for steps, share in self.steps) / sum(share for _, share in self.steps)

    def at_unit_rate(self, seed: int) -> list[Arrival]:
        """The requests of one run, one a second on average.

        A random draw does not depend on the rate (see :func:`at_rate`), so that runs at several
        rates differ in nothing else.
        """
        random = np.random.default_rng(seed)
        times = np.cumsum(random.exponential(1.0, self.count)).tolist()
        shares = np.array([share for _, share in self.steps])
        steps = random.choice(
            [steps for steps, _ in self.steps], self.count, p=shares / shares.sum()
        ).tolist()
        lanes = random.integers(self.lanes, size=self.count).tolist()
        catalogue = (random.random(self.count) < self.catalogue_share).tolist()
        return [
            Arrival(time, step, lane, CATALOGUE if late else INTERACTIVE)
            for time, step, lane, late in zip(times, steps, lanes, catalogue, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when it comes (seconds), what it needs, and how urgent it is."""

    time_s: float
    num_steps: int
    lane: int = 0
    priority: int = INTERACTIVE


def at_rate(arrivals: list[Arrival], rate: float) -> list[Arrival]:
    """The arrivals of :meth:`Traffic.at_unit_rate`, ``rate`` of them a second."""
    return [Arrival(a.time_s / rate, a.num_steps, a.lane, a.priority) for a in arrivals]
