"""The processes of a tritonserver, as ``/proc`` tells them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

_LOOK_S = 0.1
#: Of one core; less is not work. Seconds of processor time are counted in hundredths.
_QUIET_SHARE = 0.25
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def living_children(pid: int, among: Iterable[int] | None = None) -> Mapping[int, float]:
    """Processes whose parent is ``pid``, without those that have ended and wait to be reaped.

    Args:
        pid: of the parent.
        among: the only ones to look at; None: whatever runs on this machine.

    Returns:
        Seconds of processor time that each has had, by process.
    """
    if among is None:
        among = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    found = {}
    for candidate in among:
        try:
            parent, works_s = _parent_and_work(candidate)
        except OSError:  # it ended while we looked
            continue
        if parent == pid:
            found[candidate] = works_s
    return found


def _parent_and_work(pid: int) -> tuple[int | None, float]:
    """A process's parent, None if it has ended and waits to be reaped, and its seconds of processor time."""
    # "pid (name) state parent …"; the name may hold spaces, brackets
    # and, since the kernel cuts it at 15 bytes, half a letter. See proc_pid_stat(5).
    state, parent, *others = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    user, system = others[9:11]
    return None if state == b"Z" else int(parent), (int(user) + int(system)) / _TICKS_PER_S


def wait_until_server_rests(timeout_s: float) -> bool:
    """Wait for this process's parent and its other children to compute nothing any more, two looks long.

    Python models are such children; others load in the server itself.

    Args:
        timeout_s: how long at most.

    Returns:
        Whether they do.
    """
    deadline = time.monotonic() + timeout_s
    before, looked, rested = _server_processes(), time.monotonic(), False
    while looked < deadline:
        time.sleep(_LOOK_S)
        now, since = _server_processes(), looked
        looked = time.monotonic()
        busy_s = sum(works_s - before.get(pid, 0.0) for pid, works_s in now.items() if pid != os.getpid())
        rests = busy_s < _QUIET_SHARE * (looked - since)
        if rests and rested:
            return True
        before, rested = now, rests
    return False


def _server_processes() -> dict[int, float]:
    parent = os.getppid()
    return {**living_children(parent), parent: _parent_and_work(parent)[1]}
