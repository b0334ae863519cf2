"""Pictures of a committed run."""

from __future__ import annotations

from pathlib import Path

from packshot_bench.plots import plot
from packshot_bench.results import Report
from tests.benchmarks.test_results import ENVIRONMENT


def test_the_same_run_gives_the_same_pictures(tmp_path):
    report = Report.read(Path("benchmarks/results/bench.json"))
    written = plot(report, tmp_path)
    assert sorted(path.name for path in written) == sorted(
        f"{name}.{kind}" for name in ("latency", "stages", "load", "throughput") for kind in ("png", "svg")
    )
    before = {path: path.read_bytes() for path in written}
    plot(report, tmp_path)
    assert before == {path: path.read_bytes() for path in written}


def test_no_rows_no_plots(tmp_path):
    assert plot(Report(ENVIRONMENT, ()), tmp_path) == []
