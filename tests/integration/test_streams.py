"""``generate_stream`` on a real server: progress, previews, and slots that come back."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from packshot import DeadlineExceeded, InvalidArgument, Options, StepProgress
from packshot.contract import PREVIEW_INTERVAL
from packshot.parameters import Parameters
from packshot.transport import Transport
from packshot_serving.launcher import TritonServer
from packshot_serving.own_server import ticket_prefix
from tests.families import exported
from tests.integration.generations import arrays, make_generation
from tests.integration.metrics import figures
from tests.integration.processes import descendants
from tests.integration.triton import Triton
from tests.waiting import until

LONG = arrays(make_generation(Parameters(200), 256, 256))


async def stream(address: str, request: dict[str, np.ndarray], options: Options | None = None) -> list[dict]:
    """Every response of a streamed generation."""
    responses: list[dict] = []
    transport = Transport(address, options or Options())
    try:
        await transport.stream("generate_stream", request, responses.append)
    finally:
        await transport.close()
    return responses


def idle(tiny) -> bool:
    return not figures(tiny)["packshot_denoiser_slots_in_use"]


def test_steps_are_reported_in_order_and_the_picture_is_generates_own(tiny):
    request = arrays(make_generation(Parameters(30, scheduler="pndm"), 192, 192))
    *reports, last = asyncio.run(stream(tiny.server.grpc_address, request))
    steps = [StepProgress.from_outputs(0, report) for report in reports]
    assert len(steps) > 3
    assert [each.step for each in steps] == sorted(each.step for each in steps)
    assert {each.num_steps for each in steps if each.step} == {31}, "pndm takes one step more"
    assert all(each.queue_position == 0 for each in steps)
    unary = tiny.triton.infer("generate", request)
    np.testing.assert_array_equal(last["generated_image"], unary["generated_image"])
    np.testing.assert_array_equal(last["num_truncated_tokens"], unary["num_truncated_tokens"])


def test_what_is_missing_is_named(tiny):
    """Triton only counts inputs, so that an optional one may stand in for it."""
    request = {**arrays(make_generation(Parameters(1))), PREVIEW_INTERVAL.name: np.array([0], np.int32)}
    del request["image"]
    message = r"generate_stream\.image: got nothing, expected uint8\[H,W,3\]$"
    with pytest.raises(InferenceServerException, match=message):
        tiny.triton.first_of_stream("generate_stream", request)


def test_previews_come_to_look_like_the_picture(tiny):
    request = {
        **arrays(make_generation(Parameters(60), 192, 192)),
        PREVIEW_INTERVAL.name: np.array([10], np.int32),
    }
    *reports, last = asyncio.run(stream(tiny.server.grpc_address, request))
    previews = [report["preview_image"].astype(int) for report in reports if "preview_image" in report]
    assert len(previews) >= 2
    errors = [np.abs(preview - last["generated_image"]).mean() for preview in previews]
    assert errors[-1] < errors[0]


def test_refusals_have_their_status(tiny):
    with pytest.raises(InvalidArgument, match="num_inference_steps: got 0"):
        asyncio.run(
            stream(tiny.server.grpc_address, {**LONG, "num_inference_steps": np.array([0], np.int32)})
        )


def test_who_waits_is_told_its_place(tiny):
    short = arrays(make_generation(Parameters(40), 192, 192))

    async def crowd() -> list[list[dict]]:
        return await asyncio.gather(*(stream(tiny.server.grpc_address, short) for _ in range(8)))

    places = [
        max(int(each["queue_position"][0]) for each in responses[:-1]) for responses in asyncio.run(crowd())
    ]
    assert max(places) > 1


def test_a_cancelled_call_frees_its_slot(tiny):
    async def give_up() -> None:
        call = asyncio.create_task(stream(tiny.server.grpc_address, LONG))
        await asyncio.to_thread(until, lambda: not idle(tiny))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    before = figures(tiny)
    asyncio.run(give_up())
    until(lambda: idle(tiny))
    assert grown(tiny, before, "cancelled") == 1
    steps = figures(tiny)["packshot_denoiser_steps_total"] - before["packshot_denoiser_steps_total"]
    assert steps < 200


def test_a_deadline_frees_the_slot(tiny):
    before = figures(tiny)
    with pytest.raises(DeadlineExceeded):
        asyncio.run(stream(tiny.server.grpc_address, LONG, Options(timeout_s=1.0)))
    until(lambda: idle(tiny) and grown(tiny, before, "cancelled") == 1)


def test_a_caller_that_is_killed_frees_its_slot(tiny):
    before = figures(tiny)
    process = multiprocessing.get_context("spawn").Process(
        target=_wait_for_a_picture, args=(tiny.server.grpc_address,)
    )
    process.start()
    until(lambda: not idle(tiny))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    until(lambda: idle(tiny) and grown(tiny, before, "cancelled") == 1)


def test_a_hundred_callers_that_give_up_at_random_leave_nothing():
    """No slot, ticket, shared memory, thread or process more than before them; and the next is served."""
    _, repository = exported("tiny-sd2")
    random = np.random.default_rng(0)
    request = arrays(make_generation(Parameters(20)))

    async def call(address: str, seconds: float) -> bool:
        try:
            await asyncio.wait_for(stream(address, request), seconds)
        except TimeoutError:
            return False
        return True

    async def crowd(address: str) -> list[bool]:
        return await asyncio.gather(*(call(address, seconds) for seconds in random.uniform(0.05, 4, 100)))

    with TritonServer(repository) as server:
        triton = Triton(server.grpc_address)
        alone = triton.infer("generate", request)["generated_image"]
        asyncio.run(call(server.grpc_address, 60))
        before = footprint(server)
        finished = asyncio.run(crowd(server.grpc_address))
        assert 0 < sum(finished) < 100, "some must give up and some must not"
        picture = triton.infer("generate", request)["generated_image"]
        assert np.abs(picture.astype(int) - alone).max() <= 1
        until(lambda: footprint(server) == before)
        pid = server.pid
        processes = descendants(pid)
    assert not [each for each in processes if Path(f"/proc/{each}").exists()]
    tickets = ticket_prefix(processes[0])
    assert not list(tickets.parent.glob(f"{tickets.name}*"))


def _wait_for_a_picture(address: str) -> None:
    asyncio.run(stream(address, LONG))


def grown(tiny, before: dict[str, float], outcome: str) -> float:
    name = f'packshot_denoiser_requests_total{{outcome="{outcome}"}}'
    return figures(tiny)[name] - before[name]


def footprint(server: TritonServer) -> dict[str, int]:
    """What a leak would add to: processes, the models' threads and open files, tickets, shared memory."""
    processes = descendants(server.pid)
    models = [pid for pid in processes if b"model.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return {
        "processes": len(processes),
        "threads": sum(len(os.listdir(f"/proc/{pid}/task")) for pid in models),
        "files": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in models),
        "shared": len(list(Path("/dev/shm").iterdir())),
    }
