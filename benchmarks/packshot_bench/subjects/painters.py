"""Servers that paint for many callers at once: packshot's own, and whole-request batching."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from packshot import AsyncStudio, Options
from packshot.family import Manifest
from packshot.statuses import translate
from packshot_bench.bare_server import BareServer, bare_server
from packshot_bench.job import Job
from packshot_bench.subjects.figures import figures
from packshot_serving.launcher import TritonServer
from packshot_serving.readiness import CHANNEL_OPTIONS

#: The comparator's model: its name, and where it lies.
MODEL = "whole_request"
_MODEL_DIRECTORY = Path(__file__).parent.parent / MODEL

#: One job's picture, uint8 [H, W, 3], nothing pasted back. Raises PackshotError.
Paint = Callable[[Job], Awaitable[np.ndarray]]


@dataclass(frozen=True, slots=True)
class Work:
    """What a server has computed: steps of batches, and the UNet rows in them."""

    steps: float = 0.0
    rows: float = 0.0

    def __sub__(self, earlier: Work) -> Work:
        return Work(self.steps - earlier.steps, self.rows - earlier.rows)


class Painter(Protocol):
    """A running server.

    Attributes:
        name: in the results.
    """

    name: str

    def connected(self) -> AbstractAsyncContextManager[Paint]:
        """A connection that stands, for the event loop that asks for it."""
        ...

    def work(self) -> Work:
        """Since the server started; while nothing is in work."""
        ...


class StudioPainter:
    """packshot through its client."""

    name = "packshot"

    def __init__(self, server: TritonServer) -> None:
        self._server = server
        self._painted = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Paint]:
        """See :meth:`Painter.connected`."""
        async with AsyncStudio(self._server.grpc_address) as studio:
            await studio.family()

            async def paint(job: Job) -> np.ndarray:
                composition = job.composition
                picture = await studio.generate(
                    composition.image, composition.mask_image, job.control_image, job.prompt,
                    job.negative_prompt, seed=job.seed, parameters=job.parameters, latents=job.latents,
                )  # fmt: skip
                self._painted += 1
                return picture

            yield paint

    def work(self) -> Work:
        """See :meth:`Painter.work`."""
        told = figures(self._server.metrics_address, self._tells_all)
        return Work(told["packshot_denoiser_steps_total"], told["packshot_denoiser_rows_total"])

    def _tells_all(self, told: dict[str, float]) -> bool:
        outcomes = (name for name in told if name.startswith("packshot_denoiser_requests_total{"))
        return sum(told[name] for name in outcomes) >= self._painted


class WholeRequestPainter:
    """The model ``whole_request`` through tritonclient.

    Args:
        server: of it.
        num_controlnets: of the family.
    """

    name = "whole-request batching"

    def __init__(self, server: BareServer, num_controlnets: int) -> None:
        self.server = server
        self._num_controlnets = num_controlnets

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Paint]:
        """See :meth:`Painter.connected`."""
        address = self.server.grpc_address
        async with InferenceServerClient(address, channel_args=CHANNEL_OPTIONS) as client:
            await client.is_server_ready()

            async def paint(job: Job) -> np.ndarray:
                inputs = job.inputs(self._num_controlnets)
                try:
                    answer: Any = await client.infer(MODEL, inputs, client_timeout=Options().timeout_s)
                except InferenceServerException as error:
                    raise translate(error.status(), error.message() or "", address) from None
                return answer.as_numpy("generated_image")[0]

            yield paint

    def work(self) -> Work:
        """See :meth:`Painter.work`."""
        told = figures(self.server.metrics_address)
        return Work(told["whole_request_steps_total"], told["whole_request_rows_total"])


@contextmanager
def serving_packshot(repository: Path) -> Iterator[Painter]:
    """packshot's server on a repository."""
    with TritonServer(repository, drain=False) as server:
        yield StudioPainter(server)


@contextmanager
def serving_whole_requests(repository: Path) -> Iterator[Painter]:
    """Whole-request batching around the same graphs, on a server of its own.

    The model looks for the graphs beside itself, so it is put among links to packshot's models; none of
    those is loaded.
    """
    with tempfile.TemporaryDirectory() as directory:
        for path in (*repository.resolve().iterdir(), _MODEL_DIRECTORY):
            Path(directory, path.name).symlink_to(path)
        alone = "--model-control-mode=explicit", f"--load-model={MODEL}"
        with bare_server(Path(directory), *alone) as server:
            yield WholeRequestPainter(server, Manifest.read(repository).family.dims["K"])


#: What starts each of them, in the order of the results.
PAINTERS: tuple[Callable[[Path], AbstractContextManager[Painter]], ...] = (
    serving_packshot,
    serving_whole_requests,
)
