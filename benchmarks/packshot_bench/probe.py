"""How fast the machine is at the moment."""

from __future__ import annotations

import time

import numpy as np

#: A look of some 60 ms on two cores: long enough for a scheduler.
_SIDE, _TIMES = 512, 30
#: Looks of a probe, after one that does not count: it has the tail of what was measured before.
_LOOKS = 5
#: BLAS's threads spin for 0.11 s in wait of more work; whatever is measured next would miss a core.
_SETTLE_S = 0.15


class Probe:
    """A fixed piece of work in fp32; its time tells what the neighbours leave of the machine."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._factors = [random.random((_SIDE, _SIDE), np.float32) for _ in range(2)]

    def __call__(self) -> float:
        """Seconds of a look, on average of those taken now."""
        self._look()
        began = time.perf_counter()
        for _ in range(_LOOKS):
            self._look()
        took_s = time.perf_counter() - began
        time.sleep(_SETTLE_S)
        return took_s / _LOOKS

    def _look(self) -> None:
        for _ in range(_TIMES):
            np.matmul(*self._factors)
