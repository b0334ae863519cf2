"""A server's own figures, and waiting for them."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from typing import Any


def figures(served: Any) -> dict[str, float]:
    """The denoiser's Prometheus figures, by name and labels."""
    with urllib.request.urlopen(f"http://{served.server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("packshot_denoiser_"))
    return {name: float(value) for name, value in pairs}


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Return once the server has come to a state."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)
