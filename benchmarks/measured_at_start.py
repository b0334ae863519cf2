"""What a server takes its machine for: the step times that it measures at start, and what it makes of them.

``python -m benchmarks.measured_at_start [REPOSITORY] [--starts N] [--output FILE]``. Starts the server again
and again; steps are the same work each time, so what differs is what the measurement is worth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles

from packshot_bench.machine import describe
from packshot_bench.subjects.figures import figures
from packshot_serving.launcher import TritonServer

_STEP = 'packshot_denoiser_measured_step_seconds{slots="%d"}'


def measure(repository: Path, starts: int) -> list[dict[str, float]]:
    """A row for each start: seconds until ready and of steps, and what the server makes of it."""
    rows = []
    for number in range(starts):
        began = time.perf_counter()
        with TritonServer(repository) as server:
            ready_s = time.perf_counter() - began
            told = figures(server.metrics_address, lambda found: _STEP % 1 in found)
        if _STEP % 2 not in told:
            sys.exit("this machine has no time to measure a step of two requests at start")
        rows.append(
            {
                "ready_s": round(ready_s, 2),
                "step_s": told[_STEP % 1],
                "step_of_two_s": told[_STEP % 2],
                "max_batch": told["packshot_denoiser_max_batch"],
                "max_slots": told["packshot_denoiser_max_slots"],
            }
        )
        sys.stderr.write(f"start {number + 1}/{starts}: {rows[-1]}\n")
    return rows


def summary(rows: Sequence[Mapping[str, float]]) -> str:
    """What is the same in all starts, and what is not."""
    step_s = [row["step_s"] for row in rows]
    gains = [2 * row["step_s"] / row["step_of_two_s"] for row in rows]
    low, _, high = quantiles(gains, n=4, method="inclusive")
    chosen = Counter((int(row["max_batch"]), int(row["max_slots"])) for row in rows)
    lines = [
        f"a step of one request takes {min(step_s):.3f} to {max(step_s):.3f} s",
        f"two together bring {min(gains):.2f} to {max(gains):.2f} times the requests a second",
        f"half of the starts find {low:.2f} to {high:.2f}",
        *(
            f"{count} starts: {batch} step together, {slots} in work"
            for (batch, slots), count in chosen.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--starts", type=int, default=12)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    rows = measure(options.repository.resolve(), options.starts)
    sys.stdout.write(summary(rows))
    if options.output:
        result = {**describe("onnxruntime"), "rows": rows}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
