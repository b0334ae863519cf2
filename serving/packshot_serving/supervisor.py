"""``python -m packshot_serving.supervisor SHM_PREFIX COMMAND…``: runs tritonserver, leaves nothing behind.

tritonserver starts a process for every Python model and keeps shared memory with each. Killed
hard, it leaves both. This process stands between the launcher and the server and sees to the end:

- SIGTERM or SIGINT, or the launcher gone (its end of stdin closed): the server is asked to stop,
  and Triton answers what is running first.
- SIGQUIT: the server is killed; nobody waits for its answers.
- The server gone, however: what is left of its process group is killed and reaped, and its shared
  memory is removed.

Its exit status is the server's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

#: Seconds between asking the server to stop and killing it; Triton gives running requests 30.
STOP_TIMEOUT_S = 40.0

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None).prctl


def main() -> int:
    """Run the command in ``sys.argv`` to its end."""
    shm_prefix, *command = sys.argv[1:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # A process group of its own: a Ctrl-C on the terminal reaches the launcher, which decides.
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    threading.Thread(target=_watch_launcher, args=(stop,), daemon=True).start()
    signal.signal(signal.SIGQUIT, lambda *_: server.kill())
    threading.Thread(target=_stop_when_asked, args=(server, stop), daemon=True).start()
    try:
        return _wait(server)
    finally:
        _clear_up(server.pid, shm_prefix)


def _wait(server: subprocess.Popen[bytes]) -> int:
    # A blocked wait would keep the main thread from running its signal handlers in time.
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(timeout=0.2)
            return status if status >= 0 else 128 - status


def _watch_launcher(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()


def _stop_when_asked(server: subprocess.Popen[bytes], stop: threading.Event) -> None:
    stop.wait()
    server.terminate()
    try:
        server.wait(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()


def _clear_up(group: int, shm_prefix: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    for region in Path("/dev/shm").glob(f"{shm_prefix}*"):
        region.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
