"""What serving costs: gRPC → ensemble → picture, against the same graphs in a plain in-process loop.

``python -m benchmarks.serving_tax [REPOSITORY] [--pairs N] [--output FILE]``. One caller, one picture at
a time, both ways in turn in one run; in-process there is no gRPC, no ensemble, no engine and no queue,
only the tokenizer, ONNX Runtime sessions with the server's settings and a loop over the steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient

from packshot.family import Family, Manifest
from packshot.parameters import Parameters
from packshot_bench.job import Job, make_job
from packshot_bench.machine import describe
from packshot_bench.subjects.onnx_loop import OnnxLoop
from packshot_serving.launcher import TritonServer

TARGET = 1.05
SIDE, PARAMETERS = 256, Parameters(25)

Generate = Callable[[Job], np.ndarray]


def served(server: TritonServer, family: Family) -> Generate:
    """The chain as one call of a server."""
    client = InferenceServerClient(server.grpc_address)

    def generate(job: Job) -> np.ndarray:
        answer: Any = client.infer("generate", job.inputs(family.dims["K"]))
        return answer.as_numpy("generated_image")[0]

    return generate


def measure(repository: Path, pairs: int) -> tuple[list[float], list[float], int]:
    """Seconds of each served and in-process picture, and the greatest difference of any pixel."""
    family = Manifest.read(repository).family
    times: tuple[list[float], list[float]] = ([], [])
    worst = 0
    with TritonServer(repository) as server, OnnxLoop(repository) as loop:
        both = served(server, family), lambda job: loop.paint(job).image
        for seed in range(-1, pairs):  # the first pair warms both up
            pictures = []
            job = make_job(family, SIDE, PARAMETERS, seed + 1)
            for way, generate in enumerate(both) if seed % 2 else reversed(list(enumerate(both))):
                began = time.perf_counter()
                pictures.append(generate(job))
                if seed >= 0:
                    times[way].append(time.perf_counter() - began)
            worst = max(worst, int(np.abs(pictures[0].astype(int) - pictures[1]).max()))
    return *times, worst


def main() -> None:
    """Measure, print, and fail if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    through_server, alone, worst = measure(options.repository.resolve(), options.pairs)
    ratios = np.array(through_server) / np.array(alone)
    low, tax, high = (round(float(each), 4) for each in np.quantile(ratios, [0.25, 0.5, 0.75]))
    sys.stdout.write(
        f"served {np.median(through_server):.3f} s, in-process {np.median(alone):.3f} s: "
        f"tax {tax:.3f} ({low:.3f} to {high:.3f}); pictures at most {worst} of 255 apart\n"
    )
    if options.output:
        result = {
            "target": TARGET, "tax": tax, "quartiles": [low, high], "side": SIDE,
            "num_inference_steps": PARAMETERS.num_inference_steps, "greatest_difference": worst,
            **describe("onnxruntime"),
            "served_s": [round(each, 4) for each in through_server],
            "in_process_s": [round(each, 4) for each in alone],
        }  # fmt: skip
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    if tax > TARGET:
        sys.exit(f"tax {tax}, expected at most {TARGET}")


if __name__ == "__main__":
    main()
