"""A catalogue of many items: its throughput against what the server can do, and the runner's memory.

``python -m benchmarks.catalog [REPOSITORY] [--items N] [--output FILE]``. The server's saturated rate is
measured in the same run, before and after the catalogue: the requests that an item makes (its photo
segmented, its picture generated, the picture segmented for the gate), inputs ready, as many at a time as
the runner has items in work; nothing is decoded, composed, encoded or written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from packshot import AsyncStudio, Composition, Options, Placement, compose
from packshot.cutout import Cutout
from packshot.edges import canny
from packshot.parameters import CATALOGUE, Parameters
from packshot.prompts import Letterbox, SamPrompt, sam_prompts
from packshot_bench import machine
from packshot_serving.launcher import TritonServer

TARGET, MEMORY_TARGET = 0.95, 1.1
SIDE, PARAMETERS = 256, Parameters(25)
IN_FLIGHT = 4
#: Different photos, so that the server's cache does not spare it the encoder.
PHOTOS = 25
#: Requests of one measurement of the server's rate.
REQUESTS = 30


def write_manifest(folder: Path, items: int) -> Path:
    """A manifest of cups, and their photos and mask."""
    photo = Image.fromarray(data.coffee())
    for number in range(PHOTOS):
        photo.rotate(number / 10).save(folder / f"{number}.jpg", quality=90)
    mask = Image.new("L", photo.size)
    mask.paste(255, (74, 14, 484, 390))
    mask.save(folder / "mask.png")
    lines = [
        {"sku": f"cup-{number}", "photo": f"{number % PHOTOS}.jpg", "boxes": [[74, 14, 484, 390]],
         "prompt": f"a cup on a beach, {number}", "canvas": [SIDE, SIDE],
         "num_inference_steps": PARAMETERS.num_inference_steps}
        for number in range(items)
    ]  # fmt: skip
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


async def saturated_rate(server: str) -> float:
    """Items a second that the server answers, with ready inputs."""
    photo = data.coffee()
    mask = np.zeros(photo.shape[:2], bool)
    mask[14:390, 74:484] = True
    composition = compose(Placement(Cutout.from_mask(photo, mask)), (SIDE, SIDE))
    edges = canny(composition.image, alpha=composition.alpha)
    async with AsyncStudio(server, Options(max_in_flight=IN_FLIGHT)) as studio:
        side = (await studio.family()).dims["S"]
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(number: int) -> float:
            async with gate:
                await segment(studio, side, number)
                await generate(studio, composition, edges, number)
                await segment(studio, side, REQUESTS + number)
                return time.perf_counter()

        done = sorted(await asyncio.gather(*(one(number) for number in range(REQUESTS))))
    return (REQUESTS - 1) / (done[-1] - done[0])


async def segment(studio: AsyncStudio, side: int, number: int) -> None:
    """One prompt on a picture that the server has not seen."""
    image = np.random.default_rng([time.time_ns(), number]).integers(0, 256, (side, side, 3), np.uint8)
    await studio.segment(image, np.array([side, side], np.int64), prompt(side))


def prompt(side: int) -> SamPrompt:
    """A box in the middle of SAM's square."""
    low, high = side / 4, 3 * side / 4
    return sam_prompts(Letterbox(side, side, side), boxes=[(low, low, high, high)])[0]


async def generate(studio: AsyncStudio, composition: Composition, edges: np.ndarray, number: int) -> None:
    """One picture."""
    await studio.generate(
        composition.image, composition.mask_image, edges, f"a cup on a beach, {number}",
        seed=number, parameters=PARAMETERS, priority=CATALOGUE,
    )  # fmt: skip


def work_off(manifest: Path, output: Path, server: str) -> tuple[list[float], list[tuple[int, int]]]:
    """Run the catalogue.

    Returns:
        When each item was done, in seconds, and (items done, resident bytes of the runner) over time.
    """
    command = (
        sys.executable, "-m", "packshot", "catalog", "run", str(manifest), "--output", str(output),
        "--server", server, "--max-in-flight", str(IN_FLIGHT),
    )  # fmt: skip
    done: list[float] = []
    memory: list[tuple[int, int]] = []
    # The weights may be random: nothing is asked of the pictures.
    read = 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            # Only what is new: to read it all again would take the runner's time.
            new = (output / "ledger.jsonl").read_bytes()[read:] if read or output.is_dir() else b""
            read += len(new)
            found = len(done) + new.count(b'"kind": "item"') + new.count(b'"kind": "error"')
            done += [time.perf_counter()] * (found - len(done))
            memory.append((found, resident_bytes(process.pid)))
            time.sleep(0.25)
    if process.returncode not in (0, 10):
        raise SystemExit(f"the catalogue's run ended with status {process.returncode}")
    return done, memory


def resident_bytes(pid: int) -> int:
    """What a process has in memory; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_at(memory: list[tuple[int, int]], items: int, width: int = 10) -> int:
    """Median of the runner's memory while ``items`` to ``items + width`` were done."""
    return int(statistics.median(b for count, b in memory if items <= count < items + width and b))


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", type=Path, nargs="?", default=Path("model_repository"))
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--output", type=Path, help="JSON file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, TritonServer(given.repository) as server:
        manifest = write_manifest(Path(scratch), given.items)
        before = asyncio.run(saturated_rate(server.grpc_address))
        done, memory = work_off(manifest, Path(scratch) / "out", server.grpc_address)
        after = asyncio.run(saturated_rate(server.grpc_address))
    rate = (len(done) - 1) / (done[-1] - done[0])
    early, late = memory_at(memory, given.items // 6), memory_at(memory, given.items - 10)
    result = {
        "items": len(done),
        "rate_per_s": round(rate, 4),
        "saturated_rate_per_s": [round(before, 4), round(after, 4)],
        "of_saturated": round(rate / statistics.mean((before, after)), 4),
        "target": TARGET,
        "runner_mib": {str(given.items // 6): early >> 20, str(given.items - 10): late >> 20},
        "memory_ratio": round(late / early, 4),
        "memory_target": MEMORY_TARGET,
        "side": SIDE,
        "num_inference_steps": PARAMETERS.num_inference_steps,
        "max_in_flight": IN_FLIGHT,
        **machine.describe("onnxruntime", "tritonclient"),
    }
    text = json.dumps(result, indent=1)
    sys.stdout.write(text + "\n")
    if given.output:
        given.output.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
