"""The local engine: many items at a time, none lost, none done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.catalog.attempts import Attempts, Fault, Gone
from packshot.catalog.items import Item
from packshot.catalog.ledger import Ledger
from packshot.catalog.plan import task_of
from packshot.catalog.settling import failure, settle
from packshot.catalog.state import State
from packshot.catalog.work import Task
from packshot.errors import DeadlineExceeded, InternalError, PackshotError, Unavailable

_END: Any = object()
#: Called with every item's last record, and whether this run made it or found it.
OnItem = Callable[[dict[str, Any], bool], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a catalogue is worked off.

    Attributes:
        folder: of the catalogue.
        servers: ``host:port`` of each, which take turns.
        max_in_flight: items at a time.
        keep_best: pictures of an item that are delivered; None for all that pass.
        retry: work on what failed, and on nothing else.
        timeout_s: seconds for a request, retries of the connection included.
    """

    folder: Path
    servers: tuple[str, ...]
    max_in_flight: int
    keep_best: int | None
    retry: bool
    timeout_s: float


class Books:
    """The ledger and the state that it stands for, kept together; what the engines share.

    Args:
        settings: of the run.
        ledger: open.
        state: of the same folder.
        on_item: told of every item.
    """

    def __init__(self, settings: Settings, ledger: Ledger, state: State, on_item: OnItem) -> None:
        self._settings, self._ledger, self._state, self._on_item = settings, ledger, state, on_item
        self._failed_in_a_row = 0

    def tasks(self, items: Iterator[Item], artifacts: str) -> Iterator[Task | None]:
        """What is to be done for each item; None for nothing, which is told of at once.

        Args:
            items: of the manifest.
            artifacts: of the servers.
        """
        settings = self._settings
        for item in items:
            task = task_of(item, self._state, settings.folder, artifacts, settings.keep_best, settings.retry)
            if task is None and not settings.retry and (last := self._state.last(item.sku)) is not None:
                self._on_item(last, False)
            yield task

    def enter(self, record: dict[str, Any]) -> None:
        """Write a record, with the time, and learn of it.

        Raises:
            OSError: it cannot be written.
        """
        record = {**record, "at": round(time.time(), 3)}
        offset = self._ledger.append(record)
        self._state.take(self._ledger.path, offset, record)

    def made(self, task: Task) -> Task:
        """The task, less what has been made for it since."""
        return Task(task.item, task.keys, {*task.made, *self._state.pictures(task.item.sku)})

    def close_item(self, task: Task, error: PackshotError | None) -> None:
        """Deliver an item, or write down why it failed.

        Args:
            task: whose pictures are all in the ledger, unless there is an error.
            error: why they are not.

        Raises:
            Unavailable: the servers have failed so many items in a row that they would fail them all.
            OSError: the disk is full or broken.
        """
        self._count(error)
        last = self._state.last(task.item.sku)
        if error is not None:
            record = failure(task, error, last)
        else:
            unsettled = self._state.pictures(task.item.sku)
            known = {picture["key"]: picture for picture in (last or {}).get("pictures", [])} | unsettled
            made = [known[key] for key in task.keys.pictures]
            record = settle(task, made, self._settings.folder, self._settings.keep_best, last, [*unsettled])
        self.enter(record)
        self._on_item(record, True)

    def _count(self, error: PackshotError | None) -> None:
        """End the run if the servers go on failing; what is wrong with an item alone does not count."""
        if error is None:
            self._failed_in_a_row = 0
        if isinstance(error, Fault) or not isinstance(error, Unavailable | DeadlineExceeded | InternalError):
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row > self._settings.max_in_flight:
            raise Unavailable(
                f"{error}; so it was for {self._failed_in_a_row} items in a row. "
                "Run the same command again when the server is well"
            )


class Runner:
    """Works off items on one or several servers.

    Args:
        settings: how.
        books: of the catalogue.
    """

    def __init__(self, settings: Settings, books: Books) -> None:
        self._settings, self._books = settings, books
        self._turn = asyncio.Lock()

    async def run(self, items: Iterator[Item]) -> None:
        """Work off items; memory does not grow with their number.

        Raises:
            Unavailable: the servers are gone for longer than the retries last.
            PackshotError: the servers are not alike.
            OSError: the disk is full or broken.
        """
        settings = self._settings
        room = asyncio.Semaphore(settings.max_in_flight)
        async with Attempts(settings.servers, settings.timeout_s) as attempts:
            tasks = self._books.tasks(items, await attempts.artifacts())
            try:
                async with asyncio.TaskGroup() as group:
                    # One at a time, whether there is something to do for it or not: so it can be stopped.
                    while (task := await asyncio.to_thread(next, tasks, _END)) is not _END:
                        if task is None:
                            continue
                        await room.acquire()
                        job = group.create_task(self._one(attempts, task))
                        job.add_done_callback(lambda _: room.release())
            except BaseExceptionGroup as failures:
                # The first is what ended the run; the others were cancelled for it.
                ended = failures.exceptions[0]
                raise (Unavailable(str(ended)) if isinstance(ended, Gone) else ended) from None

    async def _one(self, attempts: Attempts, task: Task) -> None:
        """One item, to its last record."""
        problem = None
        try:
            await attempts.make(lambda: self._books.made(task), self._settings.folder, self._enter)
        except PackshotError as error:
            problem = error
        async with self._turn:
            await asyncio.to_thread(self._books.close_item, task, problem)

    async def _enter(self, record: dict[str, Any]) -> None:
        async with self._turn:
            await asyncio.to_thread(self._books.enter, record)
