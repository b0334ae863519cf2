"""Results that two runs can be held against."""

from __future__ import annotations

import json

import numpy as np
import pytest

from packshot import InvalidArgument
from packshot_bench.compare import compared, table
from packshot_bench.results import Report, Row
from packshot_bench.samples import ratio_of, summarised

ENVIRONMENT = {"commit": None, "dirty": None, "cpu": "a", "cores": 2, "python": "3.11", "versions": {}}


def noisy(median: float, count: int = 30, seed: int = 0) -> list[float]:
    """Samples of a machine with moods: slow drifts and single outliers."""
    random = np.random.default_rng(seed)
    drift = 1 + 0.05 * np.sin(np.arange(count) / 4 + seed)
    return list(median * drift * random.lognormal(0, 0.02, count))


def report(*rows: Row) -> Report:
    return Report(ENVIRONMENT, rows)


def test_a_summary_tells_median_tail_and_spread():
    summary = summarised([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (summary.count, summary.median, summary.spread) == (5, 3.0, pytest.approx(1 / 3))
    assert summary.p90 == pytest.approx(4.6)
    with pytest.raises(ValueError, match="at least one"):
        summarised([])


@pytest.mark.parametrize("seed", range(5))
def test_the_same_work_does_not_differ_and_a_tenth_more_does(seed):
    assert not ratio_of(noisy(1.0, seed=seed), noisy(1.0, seed=seed + 10)).differs
    slower = ratio_of(noisy(1.0, seed=seed), noisy(1.1, seed=seed + 10))
    assert slower.differs
    assert slower.low < slower.ratio < slower.high
    assert slower.ratio == pytest.approx(1.1, rel=0.05)


def test_a_report_survives_the_journey_through_its_file(tmp_path):
    rows = (
        Row("one_shot", "packshot", {"side": 256}, (1.0, 2.0), (0.1, 0.1), {"text": (0.1, 0.2)}, {"x": 1.0}, {"y": 2.0}),
        Row("one_shot", "other", error="RuntimeError: no"),
    )  # fmt: skip
    report(*rows).write(tmp_path / "new" / "run.json")
    read = Report.read(tmp_path / "new" / "run.json")
    assert read.rows == rows
    assert json.loads((tmp_path / "new" / "run.json").read_text())["rows"][0]["summary"]["median"] == 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["rows"][0].update(scenario=3), "rows/0/scenario"),
        (lambda d: d["rows"][0].update(error="failed, and yet with samples"), "rows/0"),
        (lambda d: d["environment"].pop("cpu"), "'cpu' is a required property"),
        (lambda d: d.update(format=2), "format"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, change, message):
    path = tmp_path / "run.json"
    report(Row("s", "a", {}, (1.0,))).write(path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidArgument, match=message):
        Report.read(path)
    with pytest.raises(InvalidArgument, match="that `packshot bench` wrote"):
        Report.read(tmp_path / "none.json")


def test_moods_of_the_machine_go_out_of_a_comparison_with_probes():
    probe = noisy(0.02, seed=3)
    steady = [50 * p for p in probe]
    halved = Row("s", "a", {}, tuple(2 * s for s in steady), tuple(2 * p for p in probe))
    whole = Row("s", "a", {}, tuple(steady), tuple(probe))
    (comparison,) = compared(report(whole), report(halved))
    assert comparison.ratio is not None
    assert comparison.ratio.ratio == pytest.approx(1.0)


def test_a_table_names_what_became_slower_and_what_cannot_be_compared():
    first = report(Row("s", "a", {}, tuple(noisy(1.0))), Row("s", "b", {}, (1.0,)), Row("s", "c", {}, (1.0,)))
    second = report(
        Row("s", "a", {}, tuple(noisy(1.3, seed=1))), Row("s", "b", error="broke"), Row("s", "d", {}, (1.0,))
    )
    lines = table(first, second).splitlines()
    assert "s a  SLOWER" in lines[1]
    assert "s b: failed: broke" in lines[2]
    assert "s d: only in the second run" in lines[3]
    assert "s c: only in the first run" in lines[4]
