"""Several calls at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


async def gathered(calls: Sequence[Coroutine[Any, Any, Result]], max_in_flight: int) -> list[Result]:
    """Results in order, a bounded number at a time; the first failure cancels the rest."""
    gate = asyncio.Semaphore(max_in_flight)

    async def gated(call: Coroutine[Any, Any, Result]) -> Result:
        async with gate:
            return await call

    tasks = [asyncio.ensure_future(gated(call)) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A task that was cancelled before it began has not awaited its call.
        for call in calls:
            call.close()
