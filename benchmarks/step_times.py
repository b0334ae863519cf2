"""What a step of one, two and more requests takes, and so what batching can bring on this machine.

``python -m benchmarks.step_times [REPOSITORY] [--rounds N] [--output FILE]``. ONNX Runtime in fp32, and
OpenVINO in bfloat16 where the processor knows that; all sizes and both runners in turn, in one process, every
request guided and with ControlNet work. How step-level and whole-request batching compare under the same
arrivals has to fit this table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.control_rows import request
from packshot.contract import ARTIFACTS
from packshot.family import Family, Manifest
from packshot_bench.machine import describe
from packshot_serving.engine.batch_step import repeatable_step
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.openvino_runner import OpenVinoStepRunner, capabilities
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.runner import Runner

SIDE, SLOTS = 256, (1, 2, 4, 8, 16)


def measure(runners: dict[str, Runner], family: Family, rounds: int) -> dict[str, dict[int, list[float]]]:
    """Seconds of a step by runner and slots, one for each round after one to warm up."""
    steps = {}
    for name, runner in runners.items():
        preparation = Preparation(runner, family)
        requests = [request(family, SIDE, seed, 1.0) for seed in range(max(SLOTS))]
        slots = [preparation.begin(each, preparation.check(each)) for each in requests]
        steps |= {(name, count): repeatable_step(runner, slots[:count]) for count in SLOTS}
    seconds = {name: {count: [] for count in SLOTS} for name in runners}
    for number in range(rounds + 1):
        sys.stderr.write(f"round {number}/{rounds}\n")
        for (name, count), step in steps.items():
            began = time.perf_counter()
            step()
            if number:
                seconds[name][count].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    directory = (options.repository / ARTIFACTS["step"]).parent
    runners: dict[str, Runner] = {"onnxruntime fp32": OnnxStepRunner(directory)}
    if "BF16" in capabilities():
        runners["openvino bf16"] = OpenVinoStepRunner(directory)
    family = Manifest.read(options.repository).family
    found = measure(runners, family, options.rounds)
    rows = []
    for name, by_slots in found.items():
        alone = np.array(by_slots[1])
        for count, seconds in by_slots.items():
            gain = count * alone / np.array(seconds)  # of pairs from the same round
            low, median, high = np.quantile(gain, [0.25, 0.5, 0.75]).round(3).tolist()
            rows.append({
                "runner": name, "slots": count, "median_s": round(float(np.median(seconds)), 4),
                "gain": median, "quartiles": [low, high],
                "samples_s": [round(each, 4) for each in seconds],
            })  # fmt: skip
            sys.stdout.write(
                f"{name}, {count:2} slots: {np.median(seconds):.4f} s, {median:.2f} times the slots a second "
                f"of one ({low:.2f} to {high:.2f})\n"
            )
    if options.output:
        about = {"family": family.name, "side": SIDE, **describe("onnxruntime", "openvino")}
        options.output.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
