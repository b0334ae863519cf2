"""Closing a client: at once, for everybody, and said so."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import pytest

from packshot import AsyncStudio, Options, Placement, Studio, Unavailable
from tests.client.fake_triton import failing, paint_seed, slow
from tests.client.pictures import product

CANVAS = (96, 64)


def place() -> Placement:
    return Placement(product(), y=0.5, scale=None)


def test_a_closed_studio_says_so(triton):
    studio = Studio(triton.address)
    studio.close()
    studio.close()
    with pytest.raises(Unavailable, match="this studio is closed"):
        studio.family()
    assert not [thread for thread in threading.enumerate() if thread.name == "packshot"]


@pytest.mark.parametrize("waits_for", ["the next try", "an answer"])
def test_closing_a_studio_ends_the_calls_of_other_threads(triton, waits_for):
    busy = failing(99, grpc.StatusCode.UNAVAILABLE, "busy", paint_seed)
    triton.models["generate"] = busy if waits_for == "the next try" else slow(2, paint_seed)
    studio = Studio(triton.address, Options(first_backoff_s=60, max_backoff_s=60))
    ended: list[str] = []

    def call() -> None:
        with pytest.raises(Unavailable) as told:
            studio.shoot(place(), CANVAS, "a cup")
        ended.append(str(told.value))

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    deadline = time.monotonic() + 5
    while not triton.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    studio.close()
    caller.join(5)
    assert ended == ["this studio is closed"]


@pytest.mark.parametrize(
    ("cancelled", "error", "message"),
    [(False, Unavailable, "this client is closed"), (True, asyncio.CancelledError, None)],
)
def test_a_call_under_way_is_unavailable_once_its_client_is_closed(triton, cancelled, error, message):
    triton.models["generate"] = slow(1, paint_seed)

    async def run() -> None:
        studio = AsyncStudio(triton.address)
        call = asyncio.create_task(studio.shoot(place(), CANVAS, "a cup", num_images=2))
        await asyncio.sleep(0.4)
        if cancelled:
            call.cancel()
        await studio.close()
        with pytest.raises(error, match=message):
            await call

    asyncio.run(run())
