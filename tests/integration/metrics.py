"""A server's own figures."""

from __future__ import annotations

import urllib.request
from typing import Any


def figures(served: Any) -> dict[str, float]:
    """The denoiser's Prometheus figures, by name and labels."""
    with urllib.request.urlopen(f"http://{served.server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("packshot_denoiser_"))
    return {name: float(value) for name, value in pairs}
