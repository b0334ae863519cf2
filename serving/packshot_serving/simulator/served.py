"""When a request was served, and what many of them amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from packshot_serving.simulator.traffic import Arrival


@dataclass(frozen=True, slots=True)
class Served:
    """One request's times, in seconds.

    Attributes:
        arrival: what it was.
        seated_s: when it got a slot.
        started_s: when its first step began.
        ended_s: when its last step ended.
    """

    arrival: Arrival
    seated_s: float
    started_s: float
    ended_s: float

    @property
    def latency_s(self) -> float:
        """From arrival to end."""
        return self.ended_s - self.arrival.time_s


def latencies(served: Sequence[Served]) -> np.ndarray:
    """Seconds from arrival to end, float64 [N]."""
    return np.array([request.latency_s for request in served])


def slowdowns(served: Sequence[Served], step_alone_s: float) -> np.ndarray:
    """Latency in units of the same request's latency on an idle server, float64 [N]."""
    return np.array([request.latency_s / (request.arrival.num_steps * step_alone_s) for request in served])
