"""Why the denoiser has a queue of its own: what Triton's does between two requests of a model.

``python -m benchmarks.triton_queue [--output FILE]``. A Python model that takes 10 ms gets 24
requests at once, under several ``dynamic_batching`` settings. Where a queue may refuse, expire or
reorder requests, tritonserver 2.51 does not hand the next one over when the model becomes free, but when
it next looks, twice a second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

from packshot_bench.bare_server import bare_server
from packshot_bench.machine import describe

REQUESTS, ROUNDS = 24, 3
SETTINGS = {
    "no dynamic batching": "",
    "dynamic batching": "dynamic_batching {}",
    "a queue size": "dynamic_batching { default_queue_policy { max_queue_size: 64 } }",
    "priorities": "dynamic_batching { priority_levels: 2 default_priority_level: 1 }",
    "a timeout": "dynamic_batching { default_queue_policy { default_timeout_microseconds: 60000000 } }",
}
CONFIG = """backend: "python" max_batch_size: 1
input { name: "x" data_type: TYPE_FP32 dims: [1] }
output { name: "x" data_type: TYPE_FP32 dims: [1] }
instance_group { count: 1 kind: KIND_CPU }
"""
MODEL = """import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.01)
        return [pb_utils.InferenceResponse([pb_utils.get_input_tensor_by_name(r, "x")]) for r in requests]
"""


@contextmanager
def served(settings: dict[str, str]) -> Iterator[InferenceServerClient]:
    """A server with one model for each setting, called "0", "1", …"""
    with tempfile.TemporaryDirectory() as directory:
        for number, setting in enumerate(settings.values()):
            model = Path(directory, str(number))
            (model / "1").mkdir(parents=True)
            (model / "config.pbtxt").write_text(CONFIG + setting)
            (model / "1" / "model.py").write_text(MODEL)
        with bare_server(Path(directory)) as server:
            yield InferenceServerClient(server.grpc_address)


def measure(client: InferenceServerClient, model: str) -> float:
    """Seconds until the last of some requests that were sent at once is answered."""
    tensor = InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
    with ThreadPoolExecutor(REQUESTS) as pool:
        client.infer(model, [tensor])
        began = time.perf_counter()
        list(pool.map(lambda _: client.infer(model, [tensor]), range(REQUESTS)))
        return time.perf_counter() - began


def main() -> None:
    """Measure every setting in turn, several times over, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    with served(SETTINGS) as client:
        rounds = [[measure(client, str(number)) for number in range(len(SETTINGS))] for _ in range(ROUNDS)]
    seconds = {name: [round(each[number], 4) for each in rounds] for number, name in enumerate(SETTINGS)}
    for name, samples in seconds.items():
        sys.stdout.write(f"{name}: {REQUESTS} requests in {np.median(samples):.3f} s\n")
    if options.output:
        result = {"requests": REQUESTS, "tritonserver": "2.51", **describe(), "seconds": seconds}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
