"""A catalogue: its throughput against what the server can do, and the runner's memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from packshot import AsyncStudio, InternalError, Options, Parameters
from packshot.parameters import CATALOGUE
from packshot.sam_prompts import Letterbox, sam_prompts
from packshot_bench.context import Context
from packshot_bench.job import make_job
from packshot_bench.machine import peak_memory_bytes
from packshot_bench.results import Row
from packshot_serving.launcher import TritonServer

#: x0, y0, x1, y1 of cup and saucer.
_CUP = (74, 14, 484, 390)
_POLL_S = 0.05
#: Exit status of a run with pictures that the gate rejected.
_SOME_REJECTED = 10


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``packshot catalog run``, and in turn with it the same requests with their inputs ready.

    The server alone answers what an item makes: its photo segmented, its picture generated, the picture
    segmented for the gate; as many at a time as the runner has items in work. Nothing is decoded,
    composed, encoded or written.

    Both work off all their items from an idle server to an idle server. Rates of a part would mislead:
    what steps together ends together, and how many ends fall into a part is chance.

    Attributes:
        items: of each.
        in_flight: items in work at a time.
        side: of the canvas in pixels.
        parameters: how to paint.
    """

    name = "catalogue"
    once = False
    items: int = 24
    in_flight: int = 4
    side: int = 256
    parameters: Parameters = Parameters(25)  # noqa: RUF009 (frozen)

    def run(self, context: Context) -> Iterator[Row]:
        """Rows for the catalogue and for the server alone; a sample is the seconds for an item in a round."""
        with (
            tempfile.TemporaryDirectory() as scratch,
            TritonServer(context.repository, drain=False) as server,
        ):
            address = server.grpc_address
            self._server_alone(context, address, first=self.items, items=self.in_flight)  # warms it up
            subjects: dict[str, Callable[[], tuple[float, dict[str, float]]]] = {
                "packshot": lambda: self._run_catalogue(Path(scratch), address),
                "server alone": lambda: (self._server_alone(context, address, 0, self.items), {}),
            }
            for subject in context.in_turn(tuple(subjects)):
                context.tell(f"{self.name}: {subject}")
                probed_s = context.probe()
                took_s, measures = subjects[subject]()
                probed_s = (probed_s + context.probe()) / 2
                yield Row(
                    self.name,
                    subject,
                    {"items": self.items, "num_inference_steps": self.parameters.num_inference_steps},
                    (took_s / self.items,),
                    (probed_s,),
                    measures={"images_per_s": self.items / took_s, **measures},
                )

    def _run_catalogue(self, folder: Path, server: str) -> tuple[float, dict[str, float]]:
        """Seconds from the opening of the ledger to the last item in it, and the runner's memory."""
        manifest, ledger = self._write_manifest(folder), folder / "out" / "ledger.jsonl"
        command = (
            sys.executable, "-m", "packshot", "catalog", "run", str(manifest), "--output", str(ledger.parent),
            "--server", server, "--max-in-flight", str(self.in_flight),
        )  # fmt: skip
        began, memory = None, 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                if began is None and ledger.exists():
                    began = time.time()
                memory = max(memory, peak_memory_bytes(process.pid))
                time.sleep(_POLL_S)
        # The weights may be random: nothing is asked of the pictures.
        if began is None or process.returncode not in (0, _SOME_REJECTED):
            raise InternalError(f"packshot catalog run: got status {process.returncode}, expected 0")
        records = map(json.loads, ledger.read_text().splitlines())
        done = [record["at"] for record in records if record["kind"] == "item"]
        if len(done) != self.items:
            raise InternalError(f"packshot catalog run: got {len(done)} items, expected {self.items}")
        return max(done) - began, {"runner_memory_bytes": memory}

    def _write_manifest(self, folder: Path) -> Path:
        """A manifest of cups; each has a photo of its own, so that no cache spares the server the encoder."""
        photo = Image.fromarray(data.coffee())
        for number in range(self.items):
            photo.rotate(number / 10).save(folder / f"{number}.jpg", quality=90)
        lines = [
            {"sku": f"cup-{number}", "photo": f"{number}.jpg", "boxes": [_CUP],
             "prompt": f"a cup on a beach, {number}", "canvas": [self.side, self.side],
             "num_inference_steps": self.parameters.num_inference_steps}
            for number in range(self.items)
        ]  # fmt: skip
        manifest = folder / "manifest.jsonl"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return manifest

    def _server_alone(self, context: Context, server: str, first: int, items: int) -> float:
        """Seconds for items with ready inputs, numbered from the first."""
        family = context.family
        side = family.dims["S"]
        box = (0.1 * side, 0.1 * side, 0.9 * side, 0.9 * side)
        size = np.array([side, side], np.int64)
        prompt = sam_prompts(Letterbox(side, side, side), boxes=[box])[0]
        jobs = [make_job(family, self.side, self.parameters, first + number) for number in range(items)]
        noise = np.random.default_rng(first)
        photos = [noise.integers(0, 256, (side, side, 3), np.uint8) for _ in range(2 * items)]

        async def work_off() -> float:
            async with AsyncStudio(server, Options(max_in_flight=self.in_flight)) as studio:
                places = asyncio.Semaphore(self.in_flight)

                async def item(number: int) -> None:
                    job = jobs[number]
                    async with places:
                        await studio.segment(photos[2 * number], size, prompt)
                        await studio.generate(
                            job.composition.image, job.composition.mask_image, job.control_image, job.prompt,
                            seed=job.seed, parameters=job.parameters, priority=CATALOGUE,
                        )  # fmt: skip
                        await studio.segment(photos[2 * number + 1], size, prompt)

                began = time.perf_counter()
                await asyncio.gather(*map(item, range(items)))
                return time.perf_counter() - began

        return asyncio.run(work_off())
