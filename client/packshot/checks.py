"""Numbers from callers: checked in one place, and made plain.

numpy's scalars and whatever else is an integer or a real number pass; True and False do not.
"""

from __future__ import annotations

import math
import numbers

from packshot.arrays import shown
from packshot.errors import expected


def integer(what: str, value: object, low: int, high: int | None = None) -> int:
    """An integer from ``low`` to ``high``, as a plain int.

    Raises:
        InvalidArgument: it is none, or out of the range.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        plain = int(value)
        if low <= plain and (high is None or plain <= high):
            return plain
    upto = "" if high is None else f" to {high}"
    raise expected(what, shown(value), f"an integer from {low}{upto}")


def number(what: str, value: object, low: float, high: float | None = None, *, above: bool = False) -> float:
    """A finite number from ``low`` to ``high``, as a plain float.

    Args:
        what: its name in the message.
        value: what the caller gave.
        low: the least.
        high: the greatest; None if there is none.
        above: whether ``low`` itself is refused.

    Raises:
        InvalidArgument: it is none, not finite, or out of the range.
    """
    plain = _plain(value)
    too_low = plain <= low if above else plain < low
    if math.isfinite(plain) and not too_low and (high is None or plain <= high):
        return plain
    if above:
        form = f"above {low:g}" + ("" if high is None else f", up to {high:g}")
    else:
        form = f"from {low:g}" + ("" if high is None else f" to {high:g}")
    raise expected(what, shown(value), f"a number {form}")


def _plain(value: object) -> float:
    """The value as a float; NaN if it is no number, infinity if it is too large."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
