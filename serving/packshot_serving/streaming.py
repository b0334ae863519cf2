"""One streamed generation: ``generate`` is asked, and its caller hears how far it is meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from packshot.checks import integer
from packshot.contract import PREVIEW_INTERVAL, PROGRESS
from packshot.errors import Cancelled, Unavailable
from packshot.family import Family
from packshot.parameters import MAX_INFERENCE_STEPS
from packshot_serving.engine import Progress
from packshot_serving.shared_ticket import SharedTicket

log = logging.getLogger("packshot")

Arrays = Mapping[str, np.ndarray]
#: Asks a served model: its name and inputs → its outputs, both without batch axis. It may be told how
#: long the request may wait, as ``timeout_us``.
Infer = Callable[..., Awaitable[dict[str, np.ndarray]]]

#: Seconds between two looks at the ticket and at the caller.
POLL_S = 0.05
#: Each holds a request's pictures; far more than the denoiser's queue takes.
MAX_STREAMS = 256


class Caller(Protocol):
    """Who is being answered."""

    def send(self, outputs: Arrays) -> None:
        """Hand over a response that is not the last."""
        ...

    def gone(self) -> bool:
        """Whether nobody listens any more: cancelled, disconnected, or out of time."""
        ...


@dataclass(eq=False, slots=True)
class _Stream:
    ticket: SharedTicket
    caller: Caller
    told: Progress | None = None
    decoding: asyncio.Future[dict[str, np.ndarray]] | None = None


class Streams:
    """All streamed generations of a server, on one event loop.

    Args:
        family: of the repository.
        infer: asks the server's other models.
        prefix: of the tickets' paths; left-overs there are removed.
        poll_s: seconds between two looks at each stream.
    """

    def __init__(self, family: Family, infer: Infer, prefix: Path, poll_s: float = POLL_S) -> None:
        self._family = family
        self._infer = infer
        self._prefix = prefix
        self._poll_s = poll_s
        self._count = 0
        SharedTicket.remove_all(prefix)

    async def run(self, arrays: Arrays, caller: Caller, timeout_us: int = 0) -> dict[str, np.ndarray]:
        """Follow one generation to its end.

        Args:
            arrays: inputs of ``generate_stream``, without batch axis; none is missing that may not be.
            caller: is sent the progress.
            timeout_us: how long the request may wait for a slot; 0: as the server says.

        Returns:
            The outputs of ``generate``.

        Raises:
            InvalidArgument: ``preview_interval`` is out of its range, or ``generate`` refuses.
            Unavailable: there are too many streams, or the server is overloaded.
            Cancelled: the caller has gone. The slot is free after at most one step.
        """
        if self._count >= MAX_STREAMS:
            raise Unavailable(f"generate_stream's queue is full: {MAX_STREAMS} requests are under way")
        inputs = dict(arrays)
        stream = _Stream(self._ticket(inputs), caller)
        self._count += 1
        number = np.array([stream.ticket.number], np.int64)
        asked = self._infer("generate", {**inputs, "ticket": number}, timeout_us=timeout_us)
        call = asyncio.ensure_future(asked)
        try:
            while not call.done():
                self._look(stream)
                self._preview(stream)
                under_way = {call, stream.decoding} - {None}
                await asyncio.wait(under_way, timeout=self._poll_s, return_when=asyncio.FIRST_COMPLETED)
            return call.result()
        finally:
            # For the engine, which may not have heard of it yet.
            stream.ticket.cancel()
            stream.ticket.remove()
            stream.ticket.close()
            self._count -= 1
            for task in {call, stream.decoding} - {None}:
                task.cancel()

    def _ticket(self, inputs: dict[str, np.ndarray]) -> SharedTicket:
        """A ticket of the size that the previews need; takes the interval out of the inputs."""
        asked = inputs.pop(PREVIEW_INTERVAL.name, None)
        if asked is None or not asked.item():
            return SharedTicket.create(self._prefix)
        interval = integer("generate_stream.preview_interval", asked.item(), 0, MAX_INFERENCE_STEPS)
        factor = self._family.canvas.multiple
        height, width = (side // factor for side in inputs["image"].shape[:2])
        return SharedTicket.create(self._prefix, interval, (self._family.dims["C"], height, width))

    def _look(self, stream: _Stream) -> None:
        """Tell the caller what is new.

        Raises:
            Cancelled: the caller has gone.
        """
        if stream.caller.gone():
            raise Cancelled("the caller has gone")
        progress = stream.ticket.progress
        if progress != stream.told:
            stream.told = progress
            stream.caller.send(_outputs(progress))

    def _preview(self, stream: _Stream) -> None:
        """Send the preview that has been decoded; begin with the next, if there is one.

        A preview that cannot be decoded is not worth the picture.
        """
        if stream.decoding is not None and stream.decoding.done():
            decoded, stream.decoding = stream.decoding, None
            if error := decoded.exception():
                log.warning("a preview could not be decoded: %s", error)
            else:
                stream.caller.send(
                    {**_outputs(stream.ticket.progress), "preview_image": decoded.result()["image"]}
                )
        if stream.decoding is None and (latents := stream.ticket.take_preview()) is not None:
            stream.decoding = asyncio.ensure_future(self._infer("vae_decoder", {"latents": latents}))


def _outputs(progress: Progress) -> dict[str, np.ndarray]:
    return {tensor.name: np.array([getattr(progress, tensor.name)], np.int32) for tensor in PROGRESS}
