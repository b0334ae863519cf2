"""``python -m packshot_serving.supervisor SHM_PREFIX RUNTIME COMMAND…``: runs tritonserver to its end.

tritonserver starts a process for every Python model and keeps shared memory with each. Killed
hard, it leaves both; and when one of those processes dies, it keeps saying that it is ready while
the callers of that model wait for ever. This process stands between the launcher and the server:

- SIGTERM or SIGINT, or the launcher gone (its end of stdin closed): the denoiser is asked to end what it
  has begun, then the server to stop, and Triton answers what is running first.
- SIGQUIT: the server is killed; nobody waits for its answers.
- SIGUSR1: the server is ready. If one of the processes it has then goes while it runs on, it is
  killed, so that its callers hear of it. (Before, some come and go.) The file ``WATCHED`` in the
  runtime directory says that they have been counted.
- The server gone, however: what is left of its process group is killed and reaped, and its shared
  memory is removed; if the launcher has gone too, so is its runtime directory.

The exit status is the server's, or ``STUB_DIED``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from packshot_serving.draining import ask_to_drain
from packshot_serving.own_server import ticket_prefix
from packshot_serving.processes import living_children

#: Seconds between asking the server to stop and killing it; Triton gives running requests 30.
STOP_TIMEOUT_S = 40.0
#: A server that somebody else has told to stop ends its models before itself; give it this long.
STUB_GRACE_S = 5.0
#: Exit status after a Python model's process died (EX_SOFTWARE of sysexits.h).
STUB_DIED = 70

#: Appears in the runtime directory when the server's processes are watched.
WATCHED = "watched"

_POLL_S = 0.2
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None).prctl


def main() -> int:
    """Run the command in ``sys.argv`` to its end."""
    shm_prefix, runtime, *command = sys.argv[1:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    stop, launcher_gone = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # A process group of its own: a Ctrl-C on the terminal reaches the launcher, which decides.
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    signal.signal(signal.SIGQUIT, lambda *_: server.kill())
    watched: set[int] = set()

    def watch(*_: object) -> None:
        watched.update(living_children(server.pid))
        Path(runtime, WATCHED).touch()

    signal.signal(signal.SIGUSR1, watch)
    threading.Thread(target=_watch_launcher, args=(stop, launcher_gone), daemon=True).start()
    threading.Thread(target=_stop_when_asked, args=(server, watched, stop), daemon=True).start()
    try:
        return _wait(server, watched, stop)
    finally:
        _clear_up(server.pid, shm_prefix)
        if launcher_gone.is_set():
            shutil.rmtree(runtime, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], watched: set[int], stop: threading.Event) -> int:
    """The server's exit status, once it has ended or lost one of the processes that are watched."""
    lost_since: float | None = None
    # A blocked wait would keep the main thread from running its signal handlers in time.
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(timeout=_POLL_S)
            return status if status >= 0 else 128 - status
        if stop.is_set():
            continue
        lost = _lost(server, watched)
        if not lost:
            continue
        lost_since = lost_since or time.monotonic()
        if time.monotonic() - lost_since > STUB_GRACE_S:
            pids = ", ".join(map(str, sorted(lost)))
            sys.stdout.write(
                f"packshot: the process of a Python model died (pid {pids}); ending the server\n"
            )
            sys.stdout.flush()
            server.kill()
            server.wait()
            return STUB_DIED


def _lost(server: subprocess.Popen[bytes], watched: set[int]) -> frozenset[int]:
    """Those of the processes that are watched which the server has no more."""
    models = frozenset(watched)  # the signal that adds to them may come at any time
    return models - living_children(server.pid, models).keys()


def _watch_launcher(stop: threading.Event, launcher_gone: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    launcher_gone.set()
    stop.set()


def _stop_when_asked(server: subprocess.Popen[bytes], watched: set[int], stop: threading.Event) -> None:
    def whole() -> bool:
        return server.poll() is None and not _lost(server, watched)

    stop.wait()
    ask_to_drain(server.pid, whole)
    if not whole():  # it would wait for a model's process that has died
        server.kill()
        return
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
    tickets = ticket_prefix(group)
    for left_over in (*Path("/dev/shm").glob(f"{shm_prefix}*"), *tickets.parent.glob(f"{tickets.name}*")):
        left_over.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
