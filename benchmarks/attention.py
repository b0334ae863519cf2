"""What attention as one node of the step's graph brings on ONNX Runtime's CPU: time, and memory.

``python -m benchmarks.attention [REPOSITORY] [--sides 256,512] [--rounds N] [--output FILE]``. Held against
the same graph with its attention spelled out as products and a softmax, which write every score down. Both
take turns in one process, one guided request with ControlNet work each; answers that differ by more than 1e-5
fail. What steps take of memory, beyond what loading took, is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.inliner import inline_local_functions
from onnx.shape_inference import infer_shapes
from onnxscript import optimizer

from benchmarks.control_rows import request
from packshot.contract import ARTIFACTS
from packshot.family import Family, Manifest
from packshot_bench.machine import describe, peak_memory_bytes
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.slot import build_batch


@contextmanager
def spelled_out(graphs: Path) -> Iterator[Path]:
    """A folder of the same graphs, with the step's attention spelled out."""
    with tempfile.TemporaryDirectory(dir=graphs) as scratch:  # on the same disk: large weights are linked
        step = Path(ARTIFACTS["step"]).name
        model = infer_shapes(inline_local_functions(onnx.load(graphs / step, load_external_data=False)))
        model = optimizer.optimize(model)  # what the definition reads off shapes, as an export would have it
        if any(node.op_type == "MultiHeadAttention" for node in model.graph.node):
            sys.exit(f"{graphs / step}: does not say what its attention is; export it again")
        onnx.save(model, Path(scratch, step))
        for path in graphs.glob("*.onnx*"):
            if path.name != step:
                os.link(path, Path(scratch, path.name))
        yield Path(scratch)


def step_of(runner: OnnxStepRunner, family: Family, side: int) -> Callable[[], np.ndarray]:
    """A step of one guided request on a square canvas."""
    preparation = Preparation(runner, family)
    asked = request(family, side, 0, 1.0)
    batch = build_batch([preparation.begin(asked, preparation.check(asked))])
    return lambda: runner.step(batch)


def memory_of_steps(graphs: Path, family: Family, side: int) -> int:
    """Bytes that a few steps take beyond what the process had; to be called in a fresh one."""
    step = step_of(OnnxStepRunner(graphs), family, side)
    before = peak_memory_bytes()
    for _ in range(3):
        step()
    return peak_memory_bytes() - before


def measure(graphs: dict[str, Path], family: Family, side: int, rounds: int) -> dict[str, Any]:
    """A row of the result."""
    memory = {}
    for name, folder in graphs.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            memory[name] = fresh.submit(memory_of_steps, folder, family, side).result()
    steps = {name: step_of(OnnxStepRunner(folder), family, side) for name, folder in graphs.items()}
    answers = {name: step() for name, step in steps.items()}
    one, other = (answers[name] for name in graphs)
    difference = float(np.abs(one - other).max() / np.abs(one).max())
    if difference > 1e-5:
        sys.exit(f"{side}×{side}: the answers differ by {difference:.1e}")
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name in list(steps)[:: -1 if number % 2 else 1]:
            began = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - began)
    before, after = (np.array(seconds[name]) for name in graphs)
    low, median, high = np.quantile(after / before, [0.25, 0.5, 0.75]).round(3).tolist()
    return {
        "side": side,
        "median_s": {name: round(float(np.median(taken)), 4) for name, taken in seconds.items()},
        "ratio": median,
        "quartiles": [low, high],
        "memory_mb": {name: round(size / 1e6) for name, size in memory.items()},
        "difference": difference,
        "samples_s": {name: [round(each, 4) for each in taken] for name, taken in seconds.items()},
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--sides", default="256,512")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    family = Manifest.read(options.repository).family
    folder = (options.repository / ARTIFACTS["step"]).parent
    rows = []
    with spelled_out(folder) as other:
        for side in map(int, options.sides.split(",")):
            row = measure({"spelled out": other, "one node": folder}, family, side, options.rounds)
            rows.append(row)
            before, after = row["memory_mb"].values()
            low, high = row["quartiles"]
            sys.stdout.write(
                f"{side}×{side}: a step takes {row['ratio']:.2f} ({low:.2f} to {high:.2f}) of the time, and "
                f"{after} MB in place of {before}\n"
            )
    if options.output:
        about = {"family": family.name, **describe("onnxruntime")}
        options.output.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
