"""Wall-clock times of work on a device that answers before it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Clock:
    """How often to time what.

    Attributes:
        device: ``cpu`` or ``cuda``.
        samples: of each piece of work.
        sample_s: seconds that one sample should last, of as many calls as that takes.
    """

    device: str
    samples: int = 5
    sample_s: float = 0.2

    def wait(self) -> None:
        """Return when the device has nothing to do."""
        torch.get_device_module(self.device).synchronize()

    def once(self, work: Work) -> float:
        """Milliseconds of one call, and of all that it set going."""
        return self._sample(work, 1)

    def alternate(self, works: Mapping[str, Work]) -> dict[str, list[float]]:
        """Milliseconds of a call of each, sampled in turn (A B A B), after two calls to warm up."""
        calls = {}
        for name, work in works.items():
            work()
            calls[name] = max(1, int(self.sample_s * 1e3 / max(self._sample(work, 1), 1e-3)))
        samples: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(self.samples):
            for name, work in works.items():
                samples[name].append(self._sample(work, calls[name]))
        return samples

    def median(self, work: Work) -> float:
        """Milliseconds of a call."""
        return float(np.median(self.alternate({"": work})[""]))

    def _sample(self, work: Work, calls: int) -> float:
        self.wait()
        began = time.perf_counter()
        for _ in range(calls):
            work()
        self.wait()
        return (time.perf_counter() - began) * 1e3 / calls
