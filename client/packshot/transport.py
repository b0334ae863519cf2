"""Calls to a server over gRPC: retried within a deadline, errors translated."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
import numpy as np
from tritonclient.grpc import InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from packshot.arrays import shown
from packshot.backoff import backoff_s
from packshot.contract import MODELS, Model
from packshot.errors import DeadlineExceeded, InternalError, RepositoryError, Unavailable, expected
from packshot.family import Family
from packshot.inputs import infer_inputs
from packshot.options import Options
from packshot.statuses import translate

Answer = TypeVar("Answer")

_CHANNEL_ARGUMENTS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's own pause between connection attempts starts at a second: longer than our first retries.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
#: Triton then ends a stream with a gRPC status; without it, an error is text without one.
_STATUS_CODES = {"triton_grpc_error": "true"}
#: A name, an IPv4 address, or an IPv6 address in brackets; and a port.
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(?P<port>[0-9]{1,5})")
#: No proxy of the environment's leads back to this machine.
_LOOPBACK = re.compile(r"localhost:|127\.|\[::1\]")


class _Client(InferenceServerClient):
    """Triton's client, which can also tell whether the server it has talked to is still there."""

    @property
    def connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY


class Transport:
    """One connection to one server; belongs to the event loop that first uses it.

    Args:
        server: ``host:port`` of the server's gRPC service.
        options: time limits and retries.
        proxied: whether the proxies count that the environment names; on the way to this machine itself
            they never do.
    """

    def __init__(self, server: str, options: Options, *, proxied: bool = True) -> None:
        match = _ADDRESS.fullmatch(server) if isinstance(server, str) else None
        if not match or not 1 <= int(match["port"]) <= 65_535:
            raise expected("server", shown(server), "host:port of a gRPC service")
        self.server = server
        self._options = options
        self._proxied = proxied and not _LOOPBACK.match(server)
        self._client: _Client | None = None
        self._family: Family | None = None
        self._artifacts = ""
        self._closed = False

    async def close(self) -> None:
        """Close the connection; requests under way fail."""
        self._closed = True
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def family(self) -> Family:
        """What the server's checkpoints fix; asked for once, and again when the server may be another.

        Raises:
            Unavailable: there is no server, or it is not ready.
            RepositoryError: it serves something else than packshot.
        """
        if self._client is None or not self._client.connected:
            # It may have been started anew, with another family.
            self._family = None
        if self._family is None:
            response = await self._retried(
                lambda timeout_s: self._connected().get_model_config("generate", client_timeout=timeout_s)
            )
            try:
                parameters = response.config.parameters if response else {}
                self._artifacts = parameters["artifacts"].string_value
                self._family = Family.from_json(parameters["family"].string_value)
            except (ValueError, KeyError, TypeError) as error:
                raise RepositoryError(
                    f"{self.server}: got a 'generate' without a family ({error}), "
                    "expected a repository that `packshot export` made"
                ) from None
        return self._family

    async def artifacts(self) -> str:
        """Stands for all that the server's pictures depend on; asked for as the family is.

        Raises:
            Unavailable, RepositoryError: as :meth:`family`.
        """
        await self.family()
        return self._artifacts

    async def check(self, model_name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Refuse inputs that :meth:`infer` would refuse, without asking the model.

        Raises:
            InvalidArgument, Unavailable, RepositoryError: as there.
        """
        infer_inputs(MODELS[model_name], arrays, (await self.family()).dims)

    async def infer(
        self, model_name: str, arrays: Mapping[str, np.ndarray], *, timeout_us: int = 0
    ) -> dict[str, np.ndarray]:
        """Ask a model.

        Args:
            model_name: a name in ``contract.MODELS``.
            arrays: inputs by name, without batch axis; text as ``object`` arrays of bytes.
            timeout_us: how long the request may wait in the server's queue; 0: as the server says.

        Returns:
            Outputs by name, without batch axis.

        Raises:
            InvalidArgument: an input is missing, unknown, or of another dtype or shape than the
                contract says; found before anything is sent.
            Unavailable: no server, or an overloaded one, after all retries.
            DeadlineExceeded: no answer within the time limit.
            InternalError: the server failed.
        """
        model = MODELS[model_name]
        inputs = infer_inputs(model, arrays, (await self.family()).dims)
        result = await self._retried(
            lambda timeout_s: self._connected().infer(
                model_name, inputs, timeout=timeout_us or None, client_timeout=timeout_s
            )
        )
        return {tensor.name: self._output(result, f"{model_name}.{tensor.name}") for tensor in model.outputs}

    async def stream(
        self,
        model_name: str,
        arrays: Mapping[str, np.ndarray],
        take: Callable[[dict[str, np.ndarray]], None],
    ) -> None:
        """Ask a decoupled model; the server learns at once when this is cancelled.

        Args:
            model_name: a name in ``contract.MODELS``.
            arrays: as for :meth:`infer`.
            take: called with each response's outputs, those that it holds. If a request has to be
                sent again, the responses begin anew.

        Raises:
            InvalidArgument, Unavailable, DeadlineExceeded, InternalError: see :meth:`infer`.
        """
        model = MODELS[model_name]
        inputs = infer_inputs(model, arrays, (await self.family()).dims)

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": model_name, "inputs": inputs}

        async def send(timeout_s: float) -> None:
            # Its types are not annotated, and what a checker infers from its body is wrong.
            responses: Any = self._connected().stream_infer(requests(), timeout_s, _STATUS_CODES)
            try:
                async for result, error in responses:
                    if error is not None:
                        raise error
                    take(_outputs(model, result))
            except grpc.RpcError as error:
                raise InferenceServerException(error.details(), str(error.code())) from None
            finally:
                responses.cancel()

        await self._retried(send)

    def _output(self, result: InferResult | None, what: str) -> np.ndarray:
        array = None if result is None else result.as_numpy(what.partition(".")[2])
        if array is None or array.size == 0:
            raise InternalError(f"{self.server}: {what}: got nothing, expected a tensor")
        return array[0]

    def _connected(self) -> _Client:
        if self._closed:
            raise self._ended()
        if self._client is None:
            proxy = [] if self._proxied else [("grpc.enable_http_proxy", 0)]
            self._client = _Client(self.server, channel_args=[*_CHANNEL_ARGUMENTS, *proxy])
        return self._client

    def _ended(self) -> Unavailable:
        return Unavailable(f"{self.server}: this client is closed")

    async def _retried(self, send: Callable[[float], Awaitable[Answer]]) -> Answer:
        """Send until there is an answer, another error than UNAVAILABLE, or no time left."""
        deadline = time.monotonic() + self._options.timeout_s
        reasons: list[str] = []
        for attempt in range(self._options.max_retries + 1):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            try:
                return await send(left_s)
            except InferenceServerException as error:
                failure = translate(error.status(), error.message() or "", self.server)
            except asyncio.CancelledError:
                # gRPC cancels what is under way when its channel is closed. The caller, too, may have.
                task = asyncio.current_task()
                if not self._closed or (task is not None and task.cancelling()):
                    raise
                raise self._ended() from None
            if isinstance(failure, DeadlineExceeded):
                break
            if not isinstance(failure, Unavailable):
                raise failure
            # The next try may find another server there.
            self._family = None
            reason = str(failure).removeprefix(f"{self.server}: ")
            if reason not in reasons:
                reasons.append(reason)
            pause_s = backoff_s(attempt, self._options.first_backoff_s, self._options.max_backoff_s)
            if attempt == self._options.max_retries or time.monotonic() + pause_s >= deadline:
                # What began it says more than how the last retry ended.
                raise type(failure)(f"{self.server}: {'; then '.join(reasons)}")
            await asyncio.sleep(pause_s)
        raise DeadlineExceeded(f"{self.server}: no answer within {self._options.timeout_s:g} s")


def _outputs(model: Model, result: InferResult) -> dict[str, np.ndarray]:
    """The outputs that a response holds, without batch axis."""
    arrays = {tensor.name: result.as_numpy(tensor.name) for tensor in model.outputs}
    return {name: array[0] for name, array in arrays.items() if array is not None}
