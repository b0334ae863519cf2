"""``generate_stream``: asks ``generate`` of its own server, and tells how far it is meanwhile.

Over gRPC and not by a BLS call: in Triton 2.51 a BLS call occupies one of the threads that responses
need, too, until it ends. With more streams than threads, no progress comes through.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from packshot.errors import PackshotError
from packshot.options import Options
from packshot.statuses import NO_SERVER, SEE_LOG
from packshot.transport import Transport
from packshot_serving.adapters.tensors import Adapter, response
from packshot_serving.own_server import GRPC_ADDRESS, grpc_address, ticket_prefix
from packshot_serving.streaming import Streams

log = logging.getLogger("packshot")

#: A caller's own time limit ends its stream, so these calls need none; nor do they try again for it.
_OPTIONS = Options(timeout_s=86_400.0, max_retries=0)


class TritonPythonModel(Adapter):
    """One event loop follows all streams; ``execute`` only hands them over."""

    model = "generate_stream"

    def initialize(self, args: Mapping[str, str]) -> None:
        """Start the event loop."""
        super().initialize(args)
        self.transport = Transport(grpc_address(), _OPTIONS, proxied=False)
        self.streams = Streams(self.family, self.transport.infer, ticket_prefix(os.getppid()))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="streams", daemon=True)
        self.thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Begin each request's stream."""
        for request in requests:
            try:
                given = {name: array.copy() for name, array in self.read(request).items()}
            except PackshotError as error:
                given = error
            asked = given, request.timeout(), request.request_id()
            stream = self._answer(request.get_response_sender(), *asked)
            asyncio.run_coroutine_threadsafe(stream, self.loop).add_done_callback(_log_failure)

    def finalize(self) -> None:
        """Called by Triton at unload, when every stream has ended."""
        asyncio.run_coroutine_threadsafe(self.transport.close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _answer(
        self, sender: Any, given: dict[str, np.ndarray] | PackshotError, timeout_us: int, request_id: str
    ) -> None:
        try:
            if isinstance(given, PackshotError):
                raise given
            result = await self.streams.run(given, _Caller(sender), timeout_us)
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller must be answered
            result = error

        def outputs() -> Mapping[str, np.ndarray]:
            if isinstance(result, PackshotError):
                raise self._as_told(result)
            if isinstance(result, Exception):
                raise result
            return result

        sender.send(
            response(self.model, request_id, outputs),
            flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
        )

    def _as_told(self, error: PackshotError) -> PackshotError:
        """What the own gRPC service answered, without its address, which the caller does not know."""
        text = str(error).removeprefix(f"{self.transport.server}: ").removesuffix(SEE_LOG)
        if text == NO_SERVER:
            text = (
                f"its own gRPC service is not at {self.transport.server}; set {GRPC_ADDRESS} for the server"
            )
        return type(error)(text)


def _log_failure(stream: Future[None]) -> None:
    if error := stream.exception():
        log.error("generate_stream: an answer could not be delivered", exc_info=error)


class _Caller:
    """A response sender as :class:`packshot_serving.streaming.Caller`."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender

    def send(self, outputs: Mapping[str, np.ndarray]) -> None:
        tensors = [pb_utils.Tensor(name, array[None]) for name, array in outputs.items()]
        self._sender.send(pb_utils.InferenceResponse(tensors))

    def gone(self) -> bool:
        return self._sender.is_cancelled()
