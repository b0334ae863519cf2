"""Starts tritonserver on a repository, waits until it is ready, and stops it: tests and CLI share it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType

import grpc
from tritonclient.grpc import service_pb2_grpc

from packshot.errors import ServerStartError, expected
from packshot.family import Manifest
from packshot_serving.engine.device import DeviceName, require_provider
from packshot_serving.engine.openvino_runner import require_bf16
from packshot_serving.installation import find_installation
from packshot_serving.own_server import GRPC_ADDRESS, SUPERVISED
from packshot_serving.ports import choose_ports, ipv4, listens
from packshot_serving.readiness import CHANNEL_OPTIONS, POLL_S, all_ready
from packshot_serving.repository import lay_out
from packshot_serving.supervisor import WATCHED

START_TIMEOUT_S = 300.0
#: Else tensors between an ensemble's models are on the GPU, and the response cache takes none from there.
NO_CUDA_POOL = "--cuda-memory-pool-byte-size=0:0"
#: Triton's response cache: SAM embeddings of about 60 photos at 4 MiB, prompts beside them.
CACHE_BYTES = 256 * 2**20
_LOG_NAME = "tritonserver.log"


class TritonServer:
    """A tritonserver process as a context manager.

    Args:
        repository: a complete model repository; its hashes are checked before anything starts.
        grpc_port: port of the gRPC service; None takes a free one. The same for the other two.
        http_port: port of the HTTP service.
        metrics_port: port of Prometheus metrics.
        bind: IPv4 address or host name to listen on.
        device: where the models compute; None is what their configs say.
        bf16: compute the steps in bfloat16, on a processor that knows it.
        drain: of :meth:`stop`, at the end of the context; it takes Triton some seconds, also with nothing to
            finish.

    Raises:
        InvalidArgument: a port is out of range or named twice, ``bind`` is an IPv6 address or an unknown
            name, or ``bf16`` is asked of a GPU.
        RepositoryError: the repository is incomplete or altered.
        ServerStartError: the server did not become ready; one sentence says why and where its log is.

    Example:
        >>> with TritonServer(Path("model_repository")) as server:
        ...     print(server.grpc_address)
    """

    def __init__(
        self,
        repository: Path | str,
        *,
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        bind: str = "127.0.0.1",
        device: DeviceName | None = None,
        bf16: bool = False,
        drain: bool = True,
    ) -> None:
        if bf16 and device == "cuda":
            raise expected("bf16", "device cuda", "a CPU; on a GPU the graphs' own precision counts")
        self.repository = Path(repository).resolve()
        self.bind = ipv4(bind)
        self._device: DeviceName | None = device
        self._bf16 = bf16
        self._drain = drain
        self._asked = {"gRPC": grpc_port, "HTTP": http_port, "metrics": metrics_port}
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}
        self._runtime: Path | None = None

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC service, as a client on this machine reaches it."""
        return self._address("gRPC")

    @property
    def http_address(self) -> str:
        """``host:port`` of the HTTP service."""
        return self._address("HTTP")

    @property
    def metrics_address(self) -> str:
        """``host:port`` of the metrics."""
        return self._address("metrics")

    @property
    def log(self) -> Path:
        """The server's log; it is removed after a clean stop and kept after a failure."""
        return self._directory / _LOG_NAME

    @property
    def pid(self) -> int:
        """Process id of the supervisor; tritonserver is its child."""
        return self._running.pid

    def start(self) -> TritonServer:
        """Start and wait until every model is ready and every port open."""
        if self._process is not None:
            raise ServerStartError("this server was started already")
        if self._device is not None:
            require_provider(self._device)
        if self._bf16:
            require_bf16()
        manifest = Manifest.read(self.repository)
        manifest.verify(self.repository)
        self._ports = choose_ports(self._asked, self.bind)
        self._runtime = Path(tempfile.mkdtemp(prefix="packshot-"))
        if " " in str(self._runtime):
            self.remove_log()
            raise ServerStartError(
                f"tritonserver cannot use {tempfile.gettempdir()!r}: set TMPDIR without spaces"
            )
        try:
            self._process = self._spawn(has_plans="tensorrt" in manifest.exporters)
            self._wait_until_ready()
            self._have_it_watched()
        except BaseException as error:
            # A server that never started has no log worth keeping; one that failed has.
            self._end_process(drain=False)
            if not (isinstance(error, ServerStartError) and self.log.exists()):
                self.remove_log()
            raise
        return self

    def wait(self) -> int:
        """Block until the server ends by itself; its exit status."""
        return self._running.wait()

    def stop(self, *, drain: bool = True) -> None:
        """End the server; returns when it has gone.

        Args:
            drain: let the server end what it has begun first, for up to 30 seconds; otherwise it is
                killed. What waits for a slot is refused.
        """
        failed = self._process is not None and self._process.poll() is not None  # before it was asked to
        self._end_process(drain)
        if not failed:
            self.remove_log()

    def remove_log(self) -> None:
        """Remove what a failed server left for reading; a clean stop does it by itself."""
        if self._runtime is not None:
            shutil.rmtree(self._runtime)
            self._runtime = None

    def __enter__(self) -> TritonServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # With an exception on its way nobody is left to read the answers.
        self.stop(drain=self._drain and error is None)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerStartError("the server was not started")
        return self._process

    @property
    def _directory(self) -> Path:
        if self._runtime is None:
            raise ServerStartError("the server was not started")
        return self._runtime

    def _address(self, service: str) -> str:
        if not self._ports:
            raise ServerStartError("the server is not running")
        host = "127.0.0.1" if self.bind == "0.0.0.0" else self.bind
        return f"{host}:{self._ports[service]}"

    def failure(self, status: int) -> str:
        """Why a server that was not asked to has ended, and where its log is."""
        reason = _reason(self.log.read_text(errors="replace")) or f"it ended with status {status}"
        return f"{reason}; log: {self.log}"

    def _spawn(self, has_plans: bool) -> subprocess.Popen[bytes]:
        repository = self._directory / "repository"
        installation = find_installation(self._directory)
        # Plans are for GPUs, and for a server that has Triton's backend for them.
        graphs = has_plans and (self._device == "cpu" or not installation.has_tensorrt)
        if self._device or self._bf16 or graphs:
            lay_out(self.repository, repository, self._device, self._bf16, graphs)
        else:
            # Triton splits its models' command lines at spaces; a link keeps the repository's out of them.
            repository.symlink_to(self.repository)
        shm_prefix = f"packshot_{uuid.uuid4().hex[:12]}_"
        command = [
            str(installation.binary),
            *installation.arguments,
            f"--model-repository={repository}",
            f"--grpc-address={self.bind}",
            f"--grpc-port={self._ports['gRPC']}",
            f"--http-address={self.bind}",
            f"--http-port={self._ports['HTTP']}",
            f"--metrics-address={self.bind}",
            f"--metrics-port={self._ports['metrics']}",
            f"--cache-config=local,size={CACHE_BYTES}",
            NO_CUDA_POOL,
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
            # Our configs are complete; completing them would start every Python model twice.
            "--disable-auto-complete-config",
        ]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "packshot_serving.supervisor",
                    shm_prefix,
                    str(self._directory),
                    *command,
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **installation.environment,
                    GRPC_ADDRESS: self.grpc_address,
                    SUPERVISED: "1",
                },
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with grpc.insecure_channel(self.grpc_address, CHANNEL_OPTIONS) as channel:
            triton = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            # Triton opens the port of its metrics last, a moment after it says that it is ready.
            while not (all_ready(triton) and listens(self.metrics_address)):
                status = self._running.poll()
                if status is not None:
                    raise ServerStartError(self.failure(status))
                if time.monotonic() > deadline:
                    raise ServerStartError(
                        f"tritonserver was not ready after {START_TIMEOUT_S:.0f} s; log: {self.log}"
                    )
                time.sleep(POLL_S)

    def _have_it_watched(self) -> None:
        """From now on its supervisor ends the server if a model's process dies."""
        self._running.send_signal(signal.SIGUSR1)
        while self._running.poll() is None and not (self._directory / WATCHED).exists():
            time.sleep(0.01)

    def _end_process(self, drain: bool) -> None:
        process = self._process
        if process is None:
            return
        try:
            process.send_signal(signal.SIGTERM if drain else signal.SIGQUIT)
            # The supervisor kills what does not stop in time, so this wait ends.
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGQUIT)
            raise
        finally:
            process.communicate()
            self._process = None
            self._ports = {}


def _reason(log: str) -> str | None:
    """The first failure that tritonserver's log tells, without its prefixes and traceback."""
    patterns = (
        # The Python backend writes the newlines of its traceback as two characters.
        r"failed to load '(?P<what>[^']+)' version \d+: (?P<why>(?:(?!\\n)[^\n])+)",
        r"(?P<what>[\w ]*[Ff]ailed to start[^\n:]*)(?::\s*(?P<why>[^\n]+))?",
        r"packshot: (?P<why>the process of a Python model died[^\n]*)",
        r"error while loading shared libraries: (?P<why>[^\n]+)",
    )
    for pattern in patterns:
        found = re.search(pattern, log)
        if found:
            parts = [part.strip(' "') for part in found.groups() if part]
            return ": ".join(parts)
    return None
