"""What a row says of an error."""

from __future__ import annotations

#: Characters; some libraries' messages fill pages.
_LONGEST = 2000


def failure(error: Exception) -> str:
    """Its kind and its message."""
    return f"{type(error).__name__}: {error}"[:_LONGEST]
