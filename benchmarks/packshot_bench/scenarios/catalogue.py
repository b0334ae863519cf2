"""A catalogue: its throughput against what the server can do, and the runner's memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from packshot import AsyncStudio, InternalError, Options, Parameters
from packshot.parameters import CATALOGUE
from packshot.prompts import Letterbox, sam_prompts
from packshot_bench.context import Context
from packshot_bench.job import make_job
from packshot_bench.results import Row
from packshot_serving.launcher import TritonServer

#: Different photos, so that the server's cache does not spare it the encoder.
_PHOTOS = 25
#: x0, y0, x1, y1 of cup and saucer.
_CUP = (74, 14, 484, 390)
_POLL_S = 0.25
#: Exit status of a run with pictures that the gate rejected.
_SOME_REJECTED = 10


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``packshot catalog run``, and in turns with it the same requests with their inputs ready.

    The server alone answers what an item makes: its photo segmented, its picture generated, the picture
    segmented for the gate; as many at a time as the runner has items in work. Nothing is decoded,
    composed, encoded or written. Machines have moods that last for minutes, so the runner is stopped
    (SIGSTOP) after every block, and the block is held against the server's rate before and after it.

    Attributes:
        items: of the catalogue; whole blocks.
        block: items of a block.
        requests: of one measurement of the server alone.
        in_flight: items in work at a time.
        drain_s: after the runner is stopped, until the server has done what was in work.
        side: of the canvas in pixels.
        parameters: how to paint.
    """

    name = "catalogue"
    once = True
    items: int = 300
    block: int = 75
    requests: int = 40
    in_flight: int = 4
    drain_s: float = 10.0
    side: int = 256
    parameters: Parameters = Parameters(25)  # noqa: RUF009 (frozen)

    def run(self, context: Context) -> Iterator[Row]:
        """Rows for the catalogue and for the server alone; a sample is a block's seconds for an item."""
        with tempfile.TemporaryDirectory() as scratch, TritonServer(context.repository) as server:
            manifest = self._write_manifest(Path(scratch))
            blocks, alone, resident = self._work_off(context, manifest, server.grpc_address)
        steps = self.parameters.num_inference_steps
        case = {"items": self.items, "side": self.side, "num_inference_steps": steps}
        of_alone = [rate / statistics.mean(alone[i : i + 2]) for i, rate in enumerate(blocks)]
        measures = {
            "images_per_s": statistics.median(blocks),
            "of_server_alone": statistics.median(of_alone),
            "runner_memory_bytes": resident[-1],
            "runner_memory_growth": resident[-1] / resident[0],
        }
        yield Row(self.name, "packshot", case, tuple(1 / rate for rate in blocks), measures=measures)
        measures = {"images_per_s": statistics.median(alone)}
        yield Row(self.name, "server alone", case, tuple(1 / rate for rate in alone), measures=measures)

    def _write_manifest(self, folder: Path) -> Path:
        """A manifest of cups, and their photos."""
        photo = Image.fromarray(data.coffee())
        for number in range(_PHOTOS):
            photo.rotate(number / 10).save(folder / f"{number}.jpg", quality=90)
        lines = [
            {"sku": f"cup-{number}", "photo": f"{number % _PHOTOS}.jpg", "boxes": [_CUP],
             "prompt": f"a cup on a beach, {number}", "canvas": [self.side, self.side],
             "num_inference_steps": self.parameters.num_inference_steps}
            for number in range(self.items)
        ]  # fmt: skip
        manifest = folder / "manifest.jsonl"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return manifest

    def _work_off(
        self, context: Context, manifest: Path, server: str
    ) -> tuple[list[float], list[float], list[float]]:
        """Run the catalogue, block by block.

        Returns:
            Items a second of each block; those of the server alone before each and after the last; the
            runner's resident bytes, the median of each block.
        """
        ledger = manifest.with_name("out") / "ledger.jsonl"
        command = (
            sys.executable, "-m", "packshot", "catalog", "run", str(manifest), "--output", str(ledger.parent),
            "--server", server, "--max-in-flight", str(self.in_flight),
        )  # fmt: skip
        numbers = count()
        alone = [asyncio.run(self._server_alone(context, server, numbers))]
        done: list[list[float]] = [[]]
        memory: list[list[int]] = [[]]
        read = 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                time.sleep(_POLL_S)
                found, read = _new_items(ledger, read)
                done[-1] += found
                memory[-1] += _resident_bytes(process.pid)
                if len(done[-1]) >= self.block and len(done) < self.items // self.block:
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(self.drain_s)
                    alone.append(asyncio.run(self._server_alone(context, server, numbers)))
                    done.append([])
                    memory.append([])
                    process.send_signal(signal.SIGCONT)
        # The weights may be random: nothing is asked of the pictures.
        if process.returncode not in (0, _SOME_REJECTED):
            raise InternalError(f"packshot catalog run: got status {process.returncode}, expected 0")
        done[-1] += _new_items(ledger, read)[0]
        alone.append(asyncio.run(self._server_alone(context, server, numbers)))
        return [self._rate(block) for block in done], alone, [statistics.median(each) for each in memory]

    async def _server_alone(self, context: Context, server: str, numbers: Iterator[int]) -> float:
        """Items a second that the server answers, with ready inputs of numbers that it has not seen."""
        family = context.family
        side = family.dims["S"]
        box = (0.1 * side, 0.1 * side, 0.9 * side, 0.9 * side)
        prompt = sam_prompts(Letterbox(side, side, side), boxes=[box])[0]
        async with AsyncStudio(server, Options(max_in_flight=self.in_flight)) as studio:
            places = asyncio.Semaphore(self.in_flight)

            async def segment() -> None:
                unseen = np.random.default_rng().integers(0, 256, (side, side, 3), np.uint8)
                await studio.segment(unseen, np.array([side, side], np.int64), prompt)

            async def item(number: int) -> float:
                job = make_job(family, self.side, self.parameters, number)
                composition = job.composition
                async with places:
                    await segment()
                    await studio.generate(
                        composition.image, composition.mask_image, job.control_image, job.prompt,
                        seed=job.seed, parameters=job.parameters, priority=CATALOGUE,
                    )  # fmt: skip
                    await segment()
                    return time.time()

            return self._rate(await asyncio.gather(*map(item, islice(numbers, self.requests))))

    def _rate(self, done: Sequence[float]) -> float:
        """Items a second, of the times when they were done. Those at both ends, where not all places
        are taken, do not count."""
        edge = 2 * self.in_flight
        steady = sorted(done)[edge:-edge]
        if len(steady) < 2:
            raise InternalError(f"a block of {len(done)} items: got none but edges, expected larger blocks")
        return (len(steady) - 1) / (steady[-1] - steady[0])


def _new_items(ledger: Path, read: int) -> tuple[list[float], int]:
    """When further items were done, and how much of the ledger has been read by now."""
    if not ledger.exists():
        return [], read
    with ledger.open("rb") as file:
        file.seek(read)
        # The last line may be half written.
        lines = file.read().rpartition(b"\n")[0].splitlines(keepends=True)
    records = map(json.loads, lines)
    done = [record["at"] for record in records if record["kind"] in ("item", "error")]
    return done, read + sum(map(len, lines)) + bool(lines)


def _resident_bytes(pid: int) -> list[int]:
    """What a process has in memory; nothing if it is gone."""
    try:
        return [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")]
    except (OSError, IndexError):
        return []
