"""A tritonserver on a repository that is not packshot's, such as a comparator's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from packshot.errors import ServerStartError
from packshot_serving.installation import find_installation
from packshot_serving.launcher import START_TIMEOUT_S
from packshot_serving.ports import choose_ports
from packshot_serving.readiness import CHANNEL_OPTIONS, POLL_S

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class BareServer:
    """Where it listens: ``host:port`` of gRPC and of the metrics."""

    grpc_address: str
    metrics_address: str


@contextmanager
def bare_server(repository: Path, *arguments: str) -> Iterator[BareServer]:
    """Serve a repository as it is until the context ends, or until this process does.

    Args:
        repository: a model repository; its path has no spaces.
        arguments: more for tritonserver.

    Raises:
        ServerStartError: it did not start.
    """
    with tempfile.TemporaryDirectory() as directory:
        runtime = Path(directory)
        installation = find_installation(runtime)
        ports = choose_ports(dict.fromkeys(("grpc", "http", "metrics")), _HOST)
        shm_prefix = f"packshot_bench_{uuid.uuid4().hex[:12]}_"
        command = [
            sys.executable, "-m", "packshot_serving.supervisor", shm_prefix, directory,
            str(installation.binary), *installation.arguments, f"--model-repository={repository}",
            *(f"--{service}-port={port}" for service, port in ports.items()),
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
            "--disable-auto-complete-config", *arguments,
        ]  # fmt: skip
        log = runtime / "tritonserver.log"
        environment = {**os.environ, **installation.environment}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            _wait_until_ready(f"{_HOST}:{ports['grpc']}", process, log)
            yield BareServer(f"{_HOST}:{ports['grpc']}", f"{_HOST}:{ports['metrics']}")
        finally:
            process.terminate()
            process.wait()
            process.communicate()


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    client = InferenceServerClient(address, channel_args=CHANNEL_OPTIONS)
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while process.poll() is None:
            with contextlib.suppress(InferenceServerException):
                if client.is_server_ready():
                    return
            if time.monotonic() > deadline:
                raise ServerStartError(f"tritonserver was not ready after {START_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)
    finally:
        client.close()
    errors = [line for line in log.read_text(errors="replace").splitlines() if line[:1] in ("E", "e")]
    raise ServerStartError(f"tritonserver did not start: {' '.join(errors)}")
