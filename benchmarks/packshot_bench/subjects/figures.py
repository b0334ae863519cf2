"""A server's own figures: what stands on Triton's metrics endpoint."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

from packshot import InternalError, Unavailable

#: packshot's denoiser tells its figures when it falls idle.
_TOLD_WITHIN_S = 5.0
#: A proxy could only get in the way.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Figures = dict[str, float]


def figures(metrics_address: str, told: Callable[[Figures], bool] = lambda _: True) -> Figures:
    """Figures by name and labels, once they tell what is waited for.

    Args:
        metrics_address: ``host:port``.
        told: whether they do.

    Raises:
        InternalError: they never do.
        Unavailable: nobody answers.
    """
    deadline = time.monotonic() + _TOLD_WITHIN_S
    while True:
        try:
            with _opener.open(f"http://{metrics_address}/metrics", timeout=_TOLD_WITHIN_S) as answer:
                lines = answer.read().decode().splitlines()
        except OSError as error:
            raise Unavailable(f"{metrics_address}/metrics: {error}") from error
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        found = {name: float(value) for name, value in pairs}
        if told(found):
            return found
        if time.monotonic() > deadline:
            raise InternalError(f"{metrics_address}/metrics: got no news, expected some after a picture")
        time.sleep(0.01)
