"""Who starts next on a real server when every slot is taken and a queue has formed."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from packshot.parameters import CATALOGUE, INTERACTIVE, Parameters
from tests.integration.generations import arrays, make_generation

NUM_WAITING = 30
NUM_STEPS = 8


def test_an_interactive_request_starts_before_thirty_waiting_ones_of_a_catalogue(tiny):
    """The slots are given back thirty steps apart, so who starts first also ends first."""
    ended: list[str] = []

    def call(name: str, num_inference_steps: int, priority: int) -> None:
        request = arrays(make_generation(Parameters(num_inference_steps), 192, 192))
        request["priority"] = np.array([priority], np.int32)
        tiny.triton.infer("generate", request, priority=priority)
        ended.append(name)

    with ThreadPoolExecutor(60) as pool:
        calls: list[Future[None]] = []

        def send(name: str, num_inference_steps: int, priority: int) -> None:
            calls.append(pool.submit(call, name, num_inference_steps, priority))

        while not queue_depth(tiny):
            send("filler", min(110 + 30 * len(calls), 200), CATALOGUE)
            time.sleep(0.3)
        for _ in range(NUM_WAITING):
            send("waiting", NUM_STEPS, CATALOGUE)
        until(lambda: queue_depth(tiny) > NUM_WAITING)
        send("interactive", NUM_STEPS, INTERACTIVE)
        until(lambda: queue_depth(tiny) > NUM_WAITING + 1)
        assert not ended, "a slot was free before everybody waited"
        for each in calls:
            each.result()
    assert ended[:2] == ["filler", "interactive"]
    assert ended.count("waiting") == NUM_WAITING


def queue_depth(tiny) -> int:
    """Requests that wait for the denoiser in Triton's queue."""
    with urllib.request.urlopen(f"http://{tiny.server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    name = 'nv_inference_pending_request_count{model="denoiser"'
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def until(condition: Callable[[], bool]) -> None:
    """Return once the server has come to a state."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)
