"""Whether ``packshot bench compare`` sees what it is for: a tenth slower, and nothing where nothing is.

``python -m benchmarks.slowdown [REPOSITORY] [--rounds N] [--repeats N] [--output FILE]``. The same scenario
is run three times, one after the other as anybody would: as it is, once more, and with a step runner that
spends a tenth longer on every step. The second and the third run are held against the first.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import numpy as np

from packshot_bench import machine
from packshot_bench.compare import compared
from packshot_bench.context import Context
from packshot_bench.probe import Probe
from packshot_bench.results import Report
from packshot_bench.rounds import measured
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.subjects import onnx_loop
from packshot_serving.engine import StepBatch
from packshot_serving.engine.onnx_runner import OnnxStepRunner

SUBJECT = "onnxruntime loop"
SLOWDOWN = 0.1


class SlowRunner(OnnxStepRunner):
    """The step runner with a deliberate fault."""

    def step(self, batch: StepBatch) -> np.ndarray:
        """A step that takes a tenth longer."""
        began = time.perf_counter()
        answer = super().step(batch)
        until = time.perf_counter() + SLOWDOWN * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return answer


def run(context: Context, rounds: int) -> Report:
    """One run of the scenario."""
    *_, (_, rows) = measured([OneShot(names=(SUBJECT,))], context, rounds)
    return Report({}, rows)


def spread_of(report: Report) -> float:
    """Of the one row."""
    (row,) = report.rows
    assert row.summary is not None, row.error
    return row.summary.spread


def held_against(first: Report, second: Report) -> dict[str, float | bool]:
    """What compare says of the one row."""
    (comparison,) = compared(first, second)
    assert comparison.ratio is not None, comparison.note
    ratio = comparison.ratio
    rounded = {name: round(value, 4) for name, value in asdict(ratio).items()}
    return {**rounded, "differs": ratio.differs}


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", type=Path, nargs="?", default=Path("model_repository"))
    parser.add_argument("--checkpoints", type=Path, default=Path("pocket/weights"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5, help="shots of a round")
    parser.add_argument("--output", type=Path, help="JSON file")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error(f"--rounds: got {given.rounds}, expected at least 2: one has no interval")

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    context = Context(given.repository, given.checkpoints, given.repeats, tell, Probe())
    first, again = run(context, given.rounds), run(context, given.rounds)
    with mock.patch.object(onnx_loop, "OnnxStepRunner", SlowRunner):
        slow = run(context, given.rounds)
    result = {
        "slowdown_of_a_step": SLOWDOWN,
        "rounds": given.rounds,
        "repeats": given.repeats,
        "spread": [round(spread_of(report), 4) for report in (first, again, slow)],
        "again_over_first": held_against(first, again),
        "slow_over_first": held_against(first, slow),
        **machine.describe("onnxruntime"),
    }
    text = json.dumps(result, indent=1)
    sys.stdout.write(text + "\n")
    if given.output:
        given.output.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
