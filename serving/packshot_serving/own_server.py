"""What the process of a Python model knows about the tritonserver that it belongs to."""

from __future__ import annotations

import os
from pathlib import Path

#: Set by the launcher: a supervisor ends the server if one of its processes dies.
SUPERVISED = "PACKSHOT_SUPERVISED"
#: Where a server's own models reach its gRPC service; set by the launcher.
GRPC_ADDRESS = "PACKSHOT_GRPC_ADDRESS"


def grpc_address() -> str:
    """``host:port``; without the variable Triton's usual port on this machine."""
    return os.environ.get(GRPC_ADDRESS, "localhost:8001")


def give_up() -> None:
    """End this process, if the server has a supervisor: that then ends the server, which is not ready.

    Without one, tritonserver would let the model's callers wait for ever; so the process stays, to
    refuse them.
    """
    if SUPERVISED in os.environ:
        os._exit(os.EX_SOFTWARE)


def ticket_prefix(server_pid: int) -> Path:
    """What the paths of a tritonserver's tickets begin with.

    Its models know it as their parent, and its supervisor knows which files to remove.
    """
    return Path(f"/dev/shm/packshot-{server_pid}-")
