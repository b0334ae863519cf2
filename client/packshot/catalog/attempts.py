"""Servers that take turns, and a second try for what may pass."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from packshot.backoff import backoff_s
from packshot.catalog.work import Task, Tell, make
from packshot.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    PackshotError,
    RepositoryError,
    Unavailable,
)
from packshot.options import Options
from packshot.studio import AsyncStudio

_LOG = logging.getLogger(__name__)

#: How often an item is tried on errors that may pass, each time on the next server.
_ATTEMPTS = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 20.0


class Gone(Exception):
    """The server that the run began with is gone: what answers there serves something else."""


class Fault(InternalError):
    """Not the server's but ours, and so this item's alone, as far as we know."""


class Attempts:
    """The servers of a run.

    Args:
        servers: ``host:port`` of each.
        timeout_s: seconds for a request.
    """

    def __init__(self, servers: Sequence[str], timeout_s: float) -> None:
        options = Options(timeout_s=timeout_s, max_retries=2)
        self._timeout_s = timeout_s
        self._studios = [AsyncStudio(server, options) for server in servers]
        self._servers = servers
        self._next = 0

    async def __aenter__(self) -> Attempts:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for studio in self._studios:
            await studio.close()

    async def artifacts(self) -> str:
        """What all servers serve, see :meth:`packshot.AsyncStudio.artifacts`.

        Raises:
            PackshotError: they serve different things; their pictures would not belong together.
        """
        found = [await studio.artifacts() for studio in self._studios]
        if len(set(found)) > 1:
            raise PackshotError(
                f"{', '.join(self._servers)}: got different model repositories, expected the same on all"
            )
        return found[0]

    async def make(self, task: Callable[[], Task], folder: Path, tell: Tell) -> None:
        """Make an item's pictures.

        A full queue is waited out for as long as a request may take: it says nothing against the server.

        Args:
            task: asked before each try for what is still to be made.
            folder: of the catalogue.
            tell: called with a record for each picture, see :func:`packshot.catalog.work.make`.

        Raises:
            Gone: no item can be made here any more.
            InvalidArgument, Unavailable, DeadlineExceeded, InternalError: see :mod:`packshot.errors`.
            OSError: the disk.
        """
        # Whose turn it is for the item; its next tries go on from there, however many others begin between.
        first = self._next
        self._next += 1
        attempts = 0
        room_by = time.monotonic() + self._timeout_s
        for turn in itertools.count():
            studio = self._studios[(first + turn) % len(self._studios)]
            try:
                await make(studio, task(), folder, tell)
            except (Unavailable, DeadlineExceeded) as error:
                waits = isinstance(error, Overloaded) and time.monotonic() < room_by
                attempts += not waits
                if attempts == _ATTEMPTS:
                    raise
            except RepositoryError as error:
                # It serves something else by now; so it would be for every item.
                raise Gone(str(error)) from error
            except (PackshotError, OSError):
                raise
            except Exception as error:
                # A fault of ours; one item must not take ten thousand with it.
                _LOG.exception("item %s", task().item.sku)
                raise Fault(f"{type(error).__name__}: {error}") from error
            else:
                return
            await asyncio.sleep(backoff_s(turn, _FIRST_PAUSE_S, _LONGEST_PAUSE_S))
