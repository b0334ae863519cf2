"""A catalogue of many items: its throughput against what the server can do, and the runner's memory.

``python -m benchmarks.catalog [REPOSITORY] [--items N] [--output FILE]``. The server's saturated rate is
measured in the same run: the requests that an item makes (its photo segmented, its picture generated, the
picture segmented for the gate), inputs ready, as many at a time as the runner has items in work; nothing is
decoded, composed, encoded or written. Machines have moods that last for minutes, so both take turns: the
runner is stopped (SIGSTOP) after every ``BLOCK`` items, and a block is held against the server's rate before
and after it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
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
#: Items of one block, and of one measurement of the server's rate.
BLOCK, REQUESTS = 75, 40
#: Items at both ends of either that do not count: not all places are taken then.
EDGE = 2 * IN_FLIGHT
#: After the runner is stopped, until the server has done what was in work.
DRAIN_S = 10.0


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
                return time.time()

        return steady_rate(sorted(await asyncio.gather(*(one(number) for number in range(REQUESTS)))))


def steady_rate(done: list[float]) -> float:
    """Items a second, of the times when they were done, but for the edges."""
    steady = done[EDGE:-EDGE]
    return (len(steady) - 1) / (steady[-1] - steady[0])


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


def work_off(
    manifest: Path, items: int, output: Path, server: str
) -> tuple[list[float], list[float], list[tuple[int, int]]]:
    """Run the catalogue, block by block.

    Returns:
        The rate of each block, the server's before each and after the last, and (items done, resident
        bytes of the runner) over time.
    """
    command = (
        sys.executable, "-m", "packshot", "catalog", "run", str(manifest), "--output", str(output),
        "--server", server, "--max-in-flight", str(IN_FLIGHT),
    )  # fmt: skip
    saturated = [asyncio.run(saturated_rate(server))]
    blocks: list[list[float]] = [[]]
    memory: list[tuple[int, int]] = []
    read = 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            found, read = new_items(output / "ledger.jsonl", read)
            blocks[-1] += found
            done = sum(map(len, blocks))
            memory.append((done, resident_bytes(process.pid)))
            if len(blocks[-1]) >= BLOCK and done < items - EDGE:
                process.send_signal(signal.SIGSTOP)
                time.sleep(DRAIN_S)
                saturated.append(asyncio.run(saturated_rate(server)))
                blocks.append([])
                process.send_signal(signal.SIGCONT)
            time.sleep(0.25)
    # The weights may be random: nothing is asked of the pictures.
    if process.returncode not in (0, 10):
        raise SystemExit(f"the catalogue's run ended with status {process.returncode}")
    blocks[-1] += new_items(output / "ledger.jsonl", read)[0]
    saturated.append(asyncio.run(saturated_rate(server)))
    return [steady_rate(block) for block in blocks], saturated, memory


def new_items(ledger: Path, read: int) -> tuple[list[float], int]:
    """When further items were done, and how much of the ledger has been read now."""
    if not ledger.exists():
        return [], 0
    with ledger.open("rb") as file:
        file.seek(read)
        # A line may be half written.
        whole = file.read().rpartition(b"\n")[0]
    records = [json.loads(line) for line in whole.splitlines()]
    read += len(whole) + 1 if whole else 0
    return [record["at"] for record in records if record["kind"] in ("item", "error")], read


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
        blocks, saturated, memory = work_off(
            manifest, given.items, Path(scratch) / "out", server.grpc_address
        )
    ratios = [rate / statistics.mean(saturated[i : i + 2]) for i, rate in enumerate(blocks)]
    early, late = memory_at(memory, given.items // 6), memory_at(memory, given.items - 10)
    result = {
        "items": given.items,
        "rate_per_s": [round(rate, 4) for rate in blocks],
        "saturated_rate_per_s": [round(rate, 4) for rate in saturated],
        "of_saturated": [round(ratio, 4) for ratio in ratios],
        "of_saturated_median": round(statistics.median(ratios), 4),
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
