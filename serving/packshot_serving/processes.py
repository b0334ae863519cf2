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
            stat = Path(f"/proc/{candidate}/stat").read_bytes()
        except OSError:  # it ended while we looked
            continue
        # "pid (name) state parent …"; the name may hold spaces, brackets
        # and, since the kernel cuts it at 15 bytes, half a letter. See proc_pid_stat(5).
        state, parent, *others = stat.rpartition(b")")[2].split()
        if int(parent) == pid and state != b"Z":
            user, system = others[9:11]
            found[candidate] = (int(user) + int(system)) / _TICKS_PER_S
    return found


def wait_until_siblings_rest(timeout_s: float) -> bool:
    """Wait for the other children of this process's parent to compute nothing any more, two looks long.

    Args:
        timeout_s: how long at most.

    Returns:
        Whether they do.
    """
    deadline = time.monotonic() + timeout_s
    before, looked, rested = living_children(os.getppid()), time.monotonic(), False
    while looked < deadline:
        time.sleep(_LOOK_S)
        now, since = living_children(os.getppid()), looked
        looked = time.monotonic()
        busy_s = sum(seconds - before.get(pid, 0.0) for pid, seconds in now.items() if pid != os.getpid())
        rests = busy_s < _QUIET_SHARE * (looked - since)
        if rests and rested:
            return True
        before, rested = now, rests
    return False
