"""How long to wait before the next try."""

from __future__ import annotations

import random

#: Beyond these nothing sensible is left to double, and floats end.
_MAX_DOUBLINGS = 64


def backoff_s(attempt: int, first_s: float, longest_s: float) -> float:
    """Seconds: twice as many each time, and up to half less at random, so that callers spread out.

    Args:
        attempt: 0 for the first wait.
        first_s: the first wait.
        longest_s: what no wait exceeds.
    """
    return min(longest_s, first_s * 2.0 ** min(attempt, _MAX_DOUBLINGS)) * random.uniform(0.5, 1.0)
