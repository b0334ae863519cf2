"""What the process of a Python model knows about the tritonserver that it belongs to."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

#: Set by the launcher: a supervisor ends the server if one of its processes dies.
SUPERVISED = "PACKSHOT_SUPERVISED"
#: Where a server's own models reach its gRPC service; set by the launcher.
GRPC_ADDRESS = "PACKSHOT_GRPC_ADDRESS"


def grpc_address() -> str:
    """``host:port``; without the variable Triton's usual port on this machine."""
    return os.environ.get(GRPC_ADDRESS, "localhost:8001")


def end_with_server() -> None:
    """End this process soon after its server, whatever has become of that.

    Triton's process for a Python model does not, where the model has threads of its own.
    """
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(1.0)
        os._exit(os.EX_UNAVAILABLE)

    threading.Thread(target=watch, name="watching-the-server", daemon=True).start()


def give_up() -> None:
    """End the server, which is ready no more though it says so; whoever runs it is to start another.

    If it has a supervisor, this process ends, and that ends the server. Without one, tritonserver would
    let the model's callers wait for ever; so it is asked to stop, and this process stays to refuse them.
    """
    if SUPERVISED in os.environ:
        os._exit(os.EX_SOFTWARE)
    os.kill(os.getppid(), signal.SIGTERM)


def ticket_prefix(server_pid: int) -> Path:
    """What the paths of a tritonserver's tickets begin with.

    Its models know it as their parent, and its supervisor knows which files to remove. Containers that
    share their shared memory (``--ipc=host``) have the same process ids, each in a namespace of its own.
    """
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return Path(f"/dev/shm/packshot-{namespace}-{server_pid}-")
