"""Whether fp16 holds at Stable Diffusion 2's full size: graph by graph, in its range, and in a whole picture.

``python -m benchmarks.full_size [--spec NAME] [--side N] [--steps N] [--scratch DIR] [--output FILE]``
makes checkpoints of the size of SD2-inpainting, its ControlNet, CLIP-H and SAM ViT-B, with random weights,
and exports them twice, as `packshot export` does: every graph is compared with torch in fp32, and an fp16
graph's numbers with the end of fp16. Then both repositories paint the same pictures. Nothing is downloaded;
it takes 25 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from packshot import Parameters
from packshot.contract import ARTIFACTS
from packshot.family import Manifest, Precision
from packshot_bench import machine
from packshot_bench.job import make_job
from packshot_bench.subjects.onnx_loop import OnnxLoop
from packshot_export.export import Exported, Planned, export_repository
from packshot_export.families import SPECS, make_family

PICTURES = 2


def exported(checkpoints: Path, repository: Path, precision: Precision) -> list[dict[str, Any]]:
    """Export; a row for each graph."""
    rows: list[dict[str, Any]] = []

    def take(told: str | Exported | Planned) -> None:
        if not isinstance(told, Exported):
            sys.stderr.write(f"{time.strftime('%X')} {precision} {told}\n")
            return
        row: dict[str, Any] = {
            "graph": told.name,
            "precision": precision,
            "seconds": round(told.seconds, 1),
            "differences": [asdict(each) for each in told.differences],
        }
        if told.headroom:
            row["greatest_in_fp16"] = asdict(told.headroom)
        rows.append(row)

    diffusion, controlnet, sam = (checkpoints / part for part in ("diffusion", "controlnet", "sam"))
    export_repository(diffusion, [controlnet], sam, repository, precision, take)
    for row in rows:
        folder = (repository / ARTIFACTS[row["graph"]]).parent
        row["mbytes"] = round(sum(path.stat().st_size for path in folder.rglob("*")) / 1e6, 1)
    return rows


def painted(repository: Path, side: int, steps: int) -> tuple[list[np.ndarray], list[float]]:
    """Pictures, and the seconds that they took."""
    family = Manifest.read(repository).family
    with OnnxLoop(repository) as loop:
        made = [loop.paint(make_job(family, side, Parameters(steps), seed)) for seed in range(PICTURES)]
    return [each.image for each in made], [round(each.took_s, 1) for each in made]


def compared(first: list[np.ndarray], second: list[np.ndarray]) -> dict[str, float]:
    """How far pictures are apart, of 255; and their peak signal-to-noise ratio."""
    difference = np.abs(np.stack(first).astype(float) - np.stack(second))
    mse = max(float((difference**2).mean()), 1e-9)
    return {
        "greatest": float(difference.max()),
        "mean": round(float(difference.mean()), 4),
        "psnr_db": round(10 * np.log10(255**2 / mse), 2),
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spec", choices=SPECS, default="full-sd2")
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=4, help="of the pictures")
    parser.add_argument("--scratch", type=Path, help="where there are 25 GB")
    parser.add_argument("--output", type=Path, help="JSON file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        checkpoints = Path(scratch) / "checkpoints"
        make_family(given.spec, checkpoints)
        graphs: list[dict[str, Any]] = []
        pictures: dict[str, list[np.ndarray]] = {}
        seconds: dict[str, list[float]] = {}
        for precision in ("fp32", "fp16"):
            repository = Path(scratch) / precision
            graphs += exported(checkpoints, repository, precision)
            pictures[precision], seconds[precision] = painted(repository, given.side, given.steps)
            shutil.rmtree(repository)
    result = {
        "spec": given.spec,
        "graphs": graphs,
        "pictures": {
            "side": given.side,
            "num_inference_steps": given.steps,
            "fp16_against_fp32": compared(pictures["fp32"], pictures["fp16"]),
            "seconds": seconds,
        },
        "peak_memory_gbytes": round(machine.peak_memory_bytes() / 1e9, 1),
        **machine.describe("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime"),
    }
    text = json.dumps(result, indent=1)
    sys.stdout.write(text + "\n")
    if given.output:
        given.output.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
