"""How a server that is told to stop ends what it has begun first.

Told to stop, Triton refuses every further step of an ensemble at once, so pictures that are painted to
their end would be thrown away before they are decoded. So the supervisor asks the denoiser first: the
denoiser refuses what is new and what waits, finishes what it has begun, and only then is Triton told. They
speak through a file in shared memory, which is there while the denoiser takes requests; each of its
processes has one, if there are several.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from packshot_serving.own_server import ticket_prefix

#: Seconds that requests under way get.
DRAIN_S = 30.0
_POLL_S = 0.05


def drain_when_asked(server_pid: int, drain: Callable[[], None]) -> None:
    """Take requests; in the denoiser.

    Args:
        server_pid: of its tritonserver.
        drain: called once, in a thread of its own, when the server is to stop. Once it returns, it does.
    """
    taking = _taking(server_pid, os.getpid())
    draining = _draining(taking)

    def watch() -> None:
        while taking.exists():
            time.sleep(_POLL_S)
        drain()
        draining.unlink(missing_ok=True)

    taking.touch()
    threading.Thread(target=watch, name="draining", daemon=True).start()


def ask_to_drain(server_pid: int, go_on: Callable[[], bool]) -> None:
    """Return when the denoiser has nothing under way any more; in the supervisor.

    Args:
        server_pid: of its tritonserver.
        go_on: whether to wait on; asked again and again.
    """
    any_taking = _taking(server_pid, "*")
    asked = []
    for taking in any_taking.parent.glob(any_taking.name):
        with contextlib.suppress(FileNotFoundError):  # the server has ended by itself, and was cleared up
            asked.append(taking.rename(_draining(taking)))
    deadline = time.monotonic() + DRAIN_S + 5
    while any(map(Path.exists, asked)) and time.monotonic() < deadline and go_on():
        time.sleep(_POLL_S)


def _taking(server_pid: int, process: int | str) -> Path:
    # Longer than a ticket's name, of which a stream removes those that it finds.
    prefix = ticket_prefix(server_pid)
    return prefix.with_name(f"{prefix.name}taking-requests-{process}")


def _draining(taking: Path) -> Path:
    return taking.with_name(taking.name.replace("taking", "draining"))
