"""What it brings that a processor's steps give way to whatever else the server computes.

``python -m benchmarks.giving_way [REPOSITORY] [--rounds N] [--output FILE]``. Two servers take turns:
packshot's, and one of which no process goes before another. On both, requests of 10 steps arrive at the same
moments, at fractions of what the slower one carries; and while four callers keep the server at work, somebody
points at one new photo after the other. Requests step one at a time on both: what is measured at start could
make that another number on one of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from packshot import Studio
from packshot.sam_prompts import Letterbox, sam_prompts
from packshot_bench.compare import table
from packshot_bench.context import Context
from packshot_bench.environment import environment
from packshot_bench.probe import Probe
from packshot_bench.results import Report, Row
from packshot_bench.rounds import measured
from packshot_bench.scenarios.load import Concurrency, OpenLoop
from packshot_bench.subjects.painters import StudioPainter
from packshot_serving.launcher import TritonServer
from packshot_serving.processes import living_children

WIDTH, HEIGHT = 600, 400


def even_out(pid: int) -> None:
    """Give every thread of a server the niceness of those that have most; to have less takes privileges."""
    threads = [int(thread) for each in _family(pid) for thread in os.listdir(f"/proc/{each}/task")]
    niceness = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
    if min(niceness) == max(niceness):
        sys.exit("no thread of the server gives way")
    for thread in threads:
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in living_children(pid):
        yield from _family(child)


@contextmanager
def one_at_a_time(repository: Path) -> Iterator[Path]:
    """A copy of a repository whose requests never step together."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(shutil.copytree(repository, Path(directory, "repository")))
        path = copy / "denoiser" / "config.pbtxt"
        config = text_format.Parse(path.read_text(), ModelConfig())
        config.parameters["max_batch"].string_value = "1"
        path.write_text(text_format.MessageToString(config))
        yield copy


class Evened(StudioPainter):
    """A server of which no process goes before another."""

    name = "none goes first"

    def __init__(self, server: TritonServer) -> None:
        super().__init__(server)
        even_out(server.pid)


class GivingWay:
    """Poisson arrivals, then prompts beside shots, on both servers."""

    name = "giving_way"
    once = False

    def run(self, context: Context) -> Iterator[Row]:
        """A row for each server and case."""
        with ExitStack() as stack:
            repository = stack.enter_context(one_at_a_time(context.repository))
            servers = [stack.enter_context(TritonServer(repository, drain=False)) for _ in range(2)]
            painters = [StudioPainter(servers[0]), Evened(servers[1])]
            list(Concurrency(callers=(4,), pictures=1).hold(context, painters))  # to warm up
            yield from OpenLoop(loads=(0.5, 0.8), requests=20).hold(context, painters)
            for painter, server in context.in_turn(list(zip(painters, servers, strict=True))):
                yield from beside_shots(context, painter, server.grpc_address)


class ShotsBesidePrompts(Concurrency):
    """What these callers wait for."""

    name, first_job = "shots_beside_prompts", 3000


def beside_shots(context: Context, painter: StudioPainter, address: str) -> Iterator[Row]:
    """First prompts on photos while four callers have shots painted, and these callers' row."""
    context.tell(f"prompts beside shots: {painter.name}")
    random = np.random.default_rng(context.round)
    letterbox = Letterbox(WIDTH, HEIGHT, context.family.dims["S"])
    size = np.array(letterbox.reshaped_input_size, np.int64)
    shots = ShotsBesidePrompts(callers=(4,), pictures=3)
    seconds: list[float] = []
    with Studio(address) as studio, ThreadPoolExecutor(1) as pool:

        def point_at_a_photo() -> None:
            photo = letterbox.fit(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
            point = random.uniform((0, 0), (WIDTH, HEIGHT)).tolist()
            began = time.perf_counter()
            studio.segment(photo, size, sam_prompts(letterbox, points=[point])[0])
            seconds.append(time.perf_counter() - began)

        for _ in range(4):  # a server's first ones take half as long again
            point_at_a_photo()
        seconds.clear()
        painting = pool.submit(lambda: list(shots.hold(context, [painter])))
        while not painting.done():
            time.sleep(0.5)
            point_at_a_photo()
    # The last one may have come after the last shot.
    yield Row("prompts_beside_shots", painter.name, {"callers": 4}, tuple(seconds[:-1]))
    yield from painting.result()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    given = parser.parse_args()

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    about, began = environment(given.repository), time.monotonic()
    context = Context(given.repository, Path(), 1, tell, Probe())  # nothing here needs the checkpoints
    rows: tuple[Row, ...] = ()
    for _, rows in measured([GivingWay()], context, given.rounds):
        if given.output:
            Report({**about, "took_s": round(time.monotonic() - began)}, rows).write(given.output)
    if any(row.error for row in rows):
        sys.exit("a scenario broke off")
    evened = tuple(replace(row, subject=StudioPainter.name) for row in rows if row.subject == Evened.name)
    as_it_is = tuple(row for row in rows if row.subject != Evened.name)
    sys.stdout.write(table(Report(about, evened), Report(about, as_it_is)) + "\n")


if __name__ == "__main__":
    main()
