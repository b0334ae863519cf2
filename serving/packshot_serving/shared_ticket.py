"""A ticket that two processes share: ``generate_stream`` makes it, the denoiser's engine fills it in.

A cancelled call is not seen inside an ensemble, and an ensemble tells nothing before its end; this
goes past it. Each ticket is a small file in shared memory. Whoever made it removes it; the other
process keeps what it has mapped. There are no locks: each number is one aligned 8-byte word with
one writer, and a preview is copied between two changes of its version.
"""

from __future__ import annotations

import math
import mmap
import os
import secrets
from pathlib import Path

import numpy as np

from packshot.errors import Cancelled, Unavailable
from packshot_serving.engine import Progress, Ticket
from packshot_serving.engine.ticket import STATES

#: int64 words: cancelled; all of a progress, 16 bits each; the preview's interval, version and shape.
_CANCELLED, _PROGRESS, _INTERVAL, _VERSION, _SHAPE = 0, 1, 2, 3, slice(4, 7)
_HEADER_BYTES = 64
#: Of a ticket's number in its path. What else a server has in shared memory has names of other lengths.
_DIGITS = 16


class SharedTicket(Ticket):
    """See :class:`Ticket`; use :meth:`create` on the caller's side, :meth:`attach` on the engine's.

    Attributes:
        number: names the ticket, and nobody can guess it: 63 random bits.
    """

    def __init__(self, path: Path, number: int) -> None:
        super().__init__()
        self.number = number
        self._path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._words = np.frombuffer(self._memory, np.int64, count=_HEADER_BYTES // 8)
        self._latents = np.frombuffer(self._memory, np.float32, offset=_HEADER_BYTES)
        self._seen_version = 0

    @classmethod
    def create(
        cls, prefix: Path, preview_interval: int = 0, latent_shape: tuple[int, int, int] = (0, 0, 0)
    ) -> SharedTicket:
        """A new ticket.

        Args:
            prefix: of its path.
            preview_interval: steps from preview to preview; 0 for none.
            latent_shape: C, h, w of the previews.

        Raises:
            Unavailable: there is no room for it in shared memory.
        """
        number = secrets.randbits(63)
        path = _path(prefix, number)
        size = _HEADER_BYTES + (4 * math.prod(latent_shape) if preview_interval else 0)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                # Not truncate: a page that is not there when the engine writes to it would kill it.
                os.posix_fallocate(file, 0, size)
            finally:
                os.close(file)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise Unavailable(f"no shared memory for a ticket in {path.parent}: {error.strerror}") from error
        ticket = cls(path, number)
        ticket._words[_INTERVAL] = preview_interval
        ticket._words[_SHAPE] = latent_shape
        return ticket

    @classmethod
    def attach(cls, prefix: Path, number: int) -> SharedTicket:
        """The ticket that another process made.

        Raises:
            Cancelled: it has been removed: its caller has gone.
        """
        try:
            ticket = cls(_path(prefix, number), number)
        except FileNotFoundError:
            raise Cancelled("the request's ticket is gone, and its caller with it") from None
        ticket.preview_interval = int(ticket._words[_INTERVAL])
        return ticket

    @staticmethod
    def remove_all(prefix: Path) -> None:
        """Remove what an earlier process has left of its tickets."""
        for path in prefix.parent.glob(f"{prefix.name}{'?' * _DIGITS}"):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """No other process can attach any more; safe to call twice."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the shared memory and its file at once; what was last seen stays."""
        self._words, self._latents = self._words.copy(), self._latents[:0].copy()
        self._memory.close()

    @property
    def progress(self) -> Progress:
        """What the engine reported last."""
        word = int(self._words[_PROGRESS])
        state, position, step, num_steps = (word >> shift & 0xFFFF for shift in (48, 32, 16, 0))
        return Progress(STATES[state], position, step, num_steps)

    @property
    def cancelled(self) -> bool:
        """Whether the request was given up, in either process."""
        return bool(self._words[_CANCELLED])

    def cancel(self) -> None:
        """See :meth:`Ticket.cancel`."""
        self._words[_CANCELLED] = 1

    def report(self, progress: Progress) -> None:
        """Publish it, in one word, and close after the last; called by the engine."""
        numbers = (STATES.index(progress.state), progress.queue_position, progress.step, progress.num_steps)
        word = 0
        for number in numbers:
            word = word << 16 | number
        self._words[_PROGRESS] = word
        if progress.state == "ended":
            self.close()

    def preview(self, step: int, latents: np.ndarray) -> None:
        """Publish a preview, over the last one; called by the engine."""
        if latents.size != self._latents.size:
            raise ValueError(f"a preview of {latents.shape} for a ticket of {self._words[_SHAPE]}")
        self._words[_VERSION] += 1  # odd: not to be read
        self._latents[:] = latents.ravel()
        self._words[_VERSION] += 1

    def take_preview(self) -> np.ndarray | None:
        """The newest preview, float32 [C, h, w]; None if it was taken already."""
        version = int(self._words[_VERSION])
        if version == self._seen_version or version % 2:
            return None
        latents = self._latents.copy()
        if int(self._words[_VERSION]) != version:
            return None  # it changed while it was copied; there is a newer one soon
        self._seen_version = version
        return latents.reshape(self._words[_SHAPE])


def _path(prefix: Path, number: int) -> Path:
    return prefix.with_name(f"{prefix.name}{number:0{_DIGITS}x}")
