"""Who starts next on a real server when every slot is taken and a queue has formed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from packshot.parameters import CATALOGUE, INTERACTIVE, Parameters
from tests.integration.generations import arrays, make_generation
from tests.integration.metrics import figures, until

SLOTS = 4
NUM_WAITING = 30
NUM_STEPS = 8
#: Of the canvases, in pixels: 140 steps have to last until all others are waiting, on a fast machine, too.
SIDE = 256


def test_an_interactive_request_starts_before_thirty_waiting_ones_of_a_catalogue(tiny):
    """The slots are given back twenty steps apart, so who starts first also ends first."""
    ended: list[str] = []

    def call(name: str, num_inference_steps: int, priority: int) -> None:
        request = arrays(make_generation(Parameters(num_inference_steps), SIDE, SIDE))
        request["priority"] = np.array([priority], np.int32)
        tiny.triton.infer("generate", request)
        ended.append(name)

    with ThreadPoolExecutor(60) as pool:
        calls: list[Future[None]] = []

        def send(name: str, num_inference_steps: int, priority: int) -> None:
            calls.append(pool.submit(call, name, num_inference_steps, priority))

        for index in range(SLOTS):
            send("filler", 140 + 20 * index, CATALOGUE)
        until(lambda: figures(tiny)["packshot_denoiser_slots_in_use"] == SLOTS)
        for _ in range(NUM_WAITING):
            send("waiting", NUM_STEPS, CATALOGUE)
        until(lambda: figures(tiny)["packshot_denoiser_requests_waiting"] == NUM_WAITING)
        send("interactive", NUM_STEPS, INTERACTIVE)
        until(lambda: figures(tiny)["packshot_denoiser_requests_waiting"] == NUM_WAITING + 1)
        assert not ended, "a slot was free before everybody waited"
        for each in calls:
            each.result()
    assert ended[:2] == ["filler", "interactive"]
    assert ended.count("waiting") == NUM_WAITING
