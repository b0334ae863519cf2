"""How a client behaves towards its server."""

from __future__ import annotations

from dataclasses import dataclass

from packshot.checks import integer, number


@dataclass(frozen=True, slots=True)
class Options:
    """Time limits, retries and concurrency of a client.

    Attributes:
        timeout_s: seconds for each request to the server, its retries included.
        max_retries: how often a request is sent again after UNAVAILABLE; other errors never are.
        first_backoff_s: wait before the first retry. Each further wait is twice as long, and every
            one is shortened by up to half at random so that clients do not come back all at once.
        max_backoff_s: the longest wait.
        max_in_flight: how many requests of one call are at the server at a time.

    Raises:
        InvalidArgument: a value is out of its range.
    """

    timeout_s: float = 600.0
    max_retries: int = 5
    first_backoff_s: float = 0.2
    max_backoff_s: float = 5.0
    max_in_flight: int = 8

    def __post_init__(self) -> None:
        for name in ("timeout_s", "first_backoff_s", "max_backoff_s"):
            seconds = number(f"options.{name}", getattr(self, name), 0, above=True)
            object.__setattr__(self, name, seconds)
        for name, least in (("max_retries", 0), ("max_in_flight", 1)):
            object.__setattr__(self, name, integer(f"options.{name}", getattr(self, name), least))
