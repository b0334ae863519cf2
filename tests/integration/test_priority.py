"""Who goes first on a real server: of requests when a queue has formed, of models on a processor."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from packshot.parameters import CATALOGUE, INTERACTIVE, Parameters
from packshot_serving.launcher import TritonServer
from tests.families import exported
from tests.integration.conftest import Served
from tests.integration.generations import arrays, make_generation
from tests.integration.metrics import figures
from tests.integration.processes import descendants
from tests.waiting import until

SLOTS = 4
#: Of them, what catalogues leave free where two step together.
RESERVED = 2
NUM_WAITING = 30
NUM_STEPS = 8
#: Of the canvases, in pixels: 140 steps have to last until all others are waiting, on a fast machine, too.
SIDE = 256


@contextmanager
def sending(served):
    """Gives what sends a request, by name, steps and priority, and the names of those that have ended."""
    ended: list[str] = []

    def call(name: str, num_inference_steps: int, priority: int) -> None:
        request = arrays(make_generation(Parameters(num_inference_steps), SIDE, SIDE))
        request["priority"] = np.array([priority], np.int32)
        served.triton.infer("generate", request)
        ended.append(name)

    calls: list[Future[None]] = []
    with ThreadPoolExecutor(60) as pool:
        yield lambda *asked: calls.append(pool.submit(call, *asked)), ended
        for each in calls:
            each.result()


def test_an_interactive_request_starts_before_thirty_waiting_ones_of_a_catalogue(tiny):
    """The slots are given back twenty steps apart, so who starts first also ends first."""
    with sending(tiny) as (send, ended):
        for index in range(SLOTS):
            send("filler", 140 + 20 * index, INTERACTIVE)
        until(lambda: figures(tiny)["packshot_denoiser_slots_in_use"] == SLOTS)
        for _ in range(NUM_WAITING):
            send("waiting", NUM_STEPS, CATALOGUE)
        until(lambda: figures(tiny)["packshot_denoiser_requests_waiting"] == NUM_WAITING)
        send("interactive", NUM_STEPS, INTERACTIVE)
        until(lambda: figures(tiny)["packshot_denoiser_requests_waiting"] == NUM_WAITING + 1)
        assert not ended, "a slot was free before everybody waited"
    assert ended[:2] == ["filler", "interactive"]
    assert ended.count("waiting") == NUM_WAITING


def test_an_interactive_request_waits_for_none_that_a_catalogue_has_begun(tmp_path):
    checkpoints, repository = exported("tiny-sd2")
    repository = shutil.copytree(repository, tmp_path / "repository")
    config = repository / "denoiser" / "config.pbtxt"
    before, key, after = config.read_text().partition('key: "max_batch"')
    config.write_text(before + key + after.replace('"4"', '"2"', 1))
    with (
        TritonServer(repository, drain=False) as server,
        sending(tiny := Served("tiny-sd2", checkpoints, server)) as (send, ended),
    ):
        for _ in range(SLOTS - RESERVED):
            send("catalogue", 140, CATALOGUE)
        until(lambda: figures(tiny)["packshot_denoiser_slots_in_use"] == SLOTS - RESERVED)
        for _ in range(NUM_WAITING):
            send("catalogue", NUM_STEPS, CATALOGUE)
        until(lambda: figures(tiny)["packshot_denoiser_requests_waiting"] == NUM_WAITING)
        send("interactive", NUM_STEPS, INTERACTIVE)
    assert ended[0] == "interactive"
    assert ended.count("catalogue") == NUM_WAITING + SLOTS - RESERVED


def test_steps_on_a_processor_give_way_to_all_other_models(tiny):
    """Those end a request, or answer somebody who waits."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    if own > 9:
        pytest.skip(f"the tests run with a niceness of {own}, and 19 is the greatest")
    tiny.triton.infer("generate", arrays(make_generation(Parameters(40), SIDE, SIDE)))
    worked = {own: 0, own + 10: 0}  # ticks of the denoiser's threads, by niceness
    for pid in descendants(tiny.server.pid):
        steps = b"/denoiser/" in Path(f"/proc/{pid}/cmdline").read_bytes()
        for thread in Path(f"/proc/{pid}/task").iterdir():
            niceness = os.getpriority(os.PRIO_PROCESS, int(thread.name))
            if steps:
                worked[niceness] += sum(
                    map(int, (thread / "stat").read_text().rpartition(")")[2].split()[11:13])
                )
            else:
                assert niceness == own
    assert worked[own + 10] > 2 * worked[own]
