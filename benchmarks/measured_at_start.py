"""What a server takes its machine for: the step time that it measures at start, and what it makes of it.

``python -m benchmarks.measured_at_start [REPOSITORY] [--starts N] [--output FILE]``. Starts the server again
and again; a step of one request is the same work each time, so what differs is what the measurement is worth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from packshot_bench.machine import describe
from packshot_bench.subjects.figures import figures
from packshot_serving.launcher import TritonServer

_STEP = 'packshot_denoiser_measured_step_seconds{slots="1"}'


def measure(repository: Path, starts: int) -> list[dict[str, float]]:
    """A row for each start: seconds until ready, of a step of one request, and how many step together."""
    rows = []
    for number in range(starts):
        began = time.perf_counter()
        with TritonServer(repository) as server:
            ready_s = time.perf_counter() - began
            told = figures(server.metrics_address, lambda found: _STEP in found)
        rows.append(
            {
                "ready_s": round(ready_s, 2),
                "step_s": told[_STEP],
                "max_batch": told["packshot_denoiser_max_batch"],
            }
        )
        sys.stderr.write(f"start {number + 1}/{starts}: {rows[-1]}\n")
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--starts", type=int, default=12)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    rows = measure(options.repository.resolve(), options.starts)
    step_s, batches = [row["step_s"] for row in rows], sorted({int(row["max_batch"]) for row in rows})
    sys.stdout.write(
        f"a step of one request: {min(step_s):.3f} to {max(step_s):.3f} s; step together: "
        f"{', '.join(map(str, batches))}\n"
    )
    if options.output:
        result = {**describe("onnxruntime"), "rows": rows}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
