"""The Ray engine: the same items by Ray Data's workers, across a cluster that shares the output folder.

Workers make pictures and write their files; only this process writes the ledger and delivers. So a
worker, or the whole cluster, may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from itertools import islice
from typing import Any

from packshot.catalog.attempts import Attempts, Gone
from packshot.catalog.extra import needing
from packshot.catalog.items import Item
from packshot.catalog.runner import Books, Settings
from packshot.catalog.work import Task
from packshot.errors import PackshotError, Unavailable

#: Items that Ray is given together; memory holds this many.
_CHUNK = 512


def run(settings: Settings, books: Books, items: Iterator[Item]) -> None:
    """Work off items on the Ray cluster that this machine belongs to, or on this machine alone.

    ``max_in_flight`` items are in work at each of the cluster's workers, one of which there is for
    each of the servers.

    Raises:
        PackshotError, OSError: Ray is not installed, or as :meth:`packshot.catalog.runner.Runner.run`.
    """
    ray, data = needing("ray", "ray"), needing("ray", "ray.data")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    data.DataContext.get_current().enable_progress_bars = False
    artifacts = asyncio.run(_artifacts(settings))
    tasks = (task for task in books.tasks(items, artifacts) if task is not None)
    while chunk := list(islice(tasks, _CHUNK)):
        rows = data.from_items([{"task": pickle.dumps(task)} for task in chunk])
        made = rows.map_batches(
            Worker,
            fn_constructor_args=(settings,),
            batch_size=settings.max_in_flight,
            concurrency=len(settings.servers),
            num_cpus=0.5,
        )
        for row in made.iter_rows():
            _enter(books, pickle.loads(row["outcomes"]))


async def _artifacts(settings: Settings) -> str:
    async with Attempts(settings.servers, settings.timeout_s) as attempts:
        return await attempts.artifacts()


def _enter(books: Books, outcomes: list[Outcome]) -> None:
    """Enter a batch, first all that is made: what ends the run is not to cost what stands beside it."""
    for _, records, _ in outcomes:
        for record in records:
            books.enter(record)
    for task, _, error in outcomes:
        if isinstance(error, Gone):
            raise Unavailable(str(error))
        if isinstance(error, PackshotError | None):  # a DeadlineExceeded is an OSError, too
            books.close_item(task, error)
        else:
            raise error


#: A task, the records of its pictures, and why there are not all of them.
Outcome = tuple[Task, list[dict[str, Any]], PackshotError | Gone | OSError | None]


class Worker:
    """Makes the pictures of a batch of items; lives as long as Ray needs it.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Items in, one row with all their outcomes out, pickled."""
        tasks = [pickle.loads(task) for task in batch["task"]]
        return {"outcomes": [pickle.dumps(asyncio.run(self._all(tasks)))]}

    async def _all(self, tasks: list[Task]) -> list[Outcome]:
        settings = self._settings
        async with Attempts(settings.servers, settings.timeout_s) as attempts:
            return list(await asyncio.gather(*(self._one(attempts, task) for task in tasks)))

    async def _one(self, attempts: Attempts, task: Task) -> Outcome:
        records: list[dict[str, Any]] = []

        async def tell(record: dict[str, Any]) -> None:
            records.append(record)

        def left() -> Task:
            return Task(task.item, task.keys, {*task.made, *(record["key"] for record in records)})

        try:
            await attempts.make(left, self._settings.folder, tell)
        except (PackshotError, Gone, OSError) as error:
            return task, records, error
        return task, records, None
