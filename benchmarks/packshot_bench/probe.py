"""How fast the machine is at the moment, and at all."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

#: A probe of some 60 ms on two cores: long enough for a scheduler, short enough to stand beside each sample.
_SIDE, _TIMES = 512, 30
#: Looks beside a sample or a block that takes many seconds.
LOOKS = 5
#: BLAS's threads wait for more work on the cores, for some 30 ms, which whatever is measured next would miss.
_SETTLE_S = 0.1
_RATE_SIDE, _RATE_TIMES = 2048, 5


class Probe:
    """A fixed piece of work in fp32; its time tells what the neighbours leave of the machine."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._factors = [random.random((_SIDE, _SIDE), np.float32) for _ in range(2)]
        self()

    def __call__(self, looks: int = 1) -> float:
        """Seconds that it takes now, on average of so many times."""
        began = time.perf_counter()
        for _ in range(_TIMES * looks):
            np.matmul(*self._factors)
        took_s = time.perf_counter() - began
        time.sleep(_SETTLE_S)
        return took_s / looks


@cache
def matrix_rate_flops() -> float:
    """The machine's own fp32 matrix rate, FLOP a second: the best of a few large products, measured once."""
    random = np.random.default_rng(0)
    factors = [random.random((_RATE_SIDE, _RATE_SIDE), np.float32) for _ in range(2)]
    times = []
    for _ in range(_RATE_TIMES):
        began = time.perf_counter()
        np.matmul(*factors)
        times.append(time.perf_counter() - began)
    return 2 * _RATE_SIDE**3 / min(times)
