"""Results that two runs can be held against."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from packshot import InvalidArgument
from packshot_bench.compare import compared, table
from packshot_bench.results import Report, Row, merged
from packshot_bench.samples import Ratio, ratio_of, summarised

ENVIRONMENT = {
    "commit": None, "dirty": None, "cpu": "a processor", "cores": 2, "matrix_rate_gflops_fp32": 100.0,
    "python": "3.11", "versions": {}, "family": "tiny", "took_s": 60,
}  # fmt: skip


def rounds(median: float, count: int = 3, seed: int = 0, each: int = 4) -> Row:
    """A row of a machine with moods: each round has one, and the samples in it scatter little."""
    random = np.random.default_rng(seed)
    moods = random.lognormal(0, 0.03, (count, 1))
    samples = median * moods * random.lognormal(0, 0.005, (count, each))
    return Row("s", "a", {}, tuple(samples.ravel()), rounds=(each,) * count)


def report(*rows: Row) -> Report:
    return Report(ENVIRONMENT, rows)


def test_a_summary_tells_median_tail_and_spread():
    summary = summarised([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (summary.count, summary.median, summary.spread) == (5, 3.0, pytest.approx(1 / 3))
    assert summary.p90 == pytest.approx(4.6)
    with pytest.raises(ValueError, match="at least one"):
        summarised([])


def test_nineteen_of_twenty_runs_of_the_same_work_agree_and_a_tenth_more_is_seen():
    runs = range(400)
    same = [ratio_of(rounds(1.0, seed=n).medians(), rounds(1.0, seed=n + 1000).medians()) for n in runs]
    assert 0.01 < np.mean([ratio.differs for ratio in same]) < 0.07
    slow = [ratio_of(rounds(1.0, 3, n).medians(), rounds(1.1, 3, n + 1000).medians()) for n in runs]
    assert np.mean([ratio.differs for ratio in slow]) > 0.6
    slow = [ratio_of(rounds(1.0, 5, n).medians(), rounds(1.1, 5, n + 1000).medians()) for n in runs]
    assert np.mean([ratio.differs for ratio in slow]) > 0.9
    assert np.mean([ratio.low < 1.1 < ratio.high for ratio in slow]) > 0.93
    assert np.median([ratio.ratio for ratio in slow]) == pytest.approx(1.1, rel=0.01)


def test_pairs_share_their_moods():
    moods = np.array([1.0, 1.3, 0.8])
    pairs = ratio_of(list(moods), list(moods * [1.1, 1.11, 1.09]), paired=True)
    assert 1.07 < pairs.low < pairs.ratio < pairs.high < 1.13
    assert not ratio_of(list(moods), list(moods * 1.1)).differs


def test_of_one_round_nothing_can_be_said():
    for paired in (False, True):
        ratio = ratio_of([1.0], [3.0], paired=paired)
        assert (ratio.ratio, ratio.low, ratio.high) == (pytest.approx(3), 0, float("inf"))
        assert not ratio.differs
    assert not ratio_of([1.0], [3.0, 3.1, 3.2]).differs
    with pytest.raises(ValueError, match="at least one"):
        ratio_of([], [1.0])
    with pytest.raises(ValueError, match="as many"):
        ratio_of([1.0], [1.0, 2.0], paired=True)


def test_rounds_that_scatter_not_at_all_have_no_interval():
    assert ratio_of([1.0, 1.0], [2.0, 2.0, 2.0]) == Ratio(2.0, 2.0, 2.0)


def test_rows_of_several_rounds_become_one():
    def of(samples, probe, text, **measures):
        return Row(
            "s",
            "a",
            {"side": 1},
            samples,
            probe,
            {"text": text},
            measures,
            {"greatest_difference": samples[0]},
        )

    rows = [
        of((1.0, 3.0), (1.0, 1.0), (0.1, 0.2), images_per_s=1.0, peak_memory_bytes=5.0),
        of((9.0, 5.0), (3.0, 5.0), (0.3, 0.4), images_per_s=4.0, peak_memory_bytes=9.0),
        of((4.0,), (2.0,), (0.5,), images_per_s=2.0, peak_memory_bytes=7.0),
    ]
    whole = merged(rows)
    assert (whole.samples_s, whole.probe_s) == ((1, 3, 9, 5, 4), (1, 1, 3, 5, 2))
    assert whole.rounds == (2, 2, 1)
    assert whole.medians() == [2, 7, 4]
    assert whole.medians(steadied=True) == [2, 2, 2]
    assert whole.stages_s == {"text": (0.1, 0.2, 0.3, 0.4, 0.5)}
    assert whole.measures == {"images_per_s": 2.0, "peak_memory_bytes": 9.0}
    assert whole.quality == {"greatest_difference": 9.0}
    assert merged(rows[:1]) == rows[0]
    # The reference may have been missing in a round.
    assert merged([replace(rows[0], quality={}), rows[1]]).quality == {"greatest_difference": 9.0}
    broken = Row("s", "a", {"side": 1}, error="broke")
    assert merged([rows[0], broken, rows[2]]) == broken


def test_a_report_survives_the_journey_through_its_file(tmp_path):
    rows = (
        Row("one_shot", "packshot", {"side": 256}, (1.0, 2.0), (0.1, 0.1), {"text": (0.1, 0.2)}, {"x": 1.0}, {"y": 2.0}, rounds=(1, 1)),
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
        (lambda d: d["rows"][0].update(rounds=[2]), "s: row: got 1 samples, 0 probes, rounds of"),
        (lambda d: d["rows"][0].update(probe_s=[1.0, 1.0]), "s: row: got 1 samples, 2 probes"),
        (lambda d: d["rows"][0].update(samples_s=[0.0]), "rows/0/samples_s/0"),
        (lambda d: d["rows"][0].update(samples_s=[float("nan")]), "got NaN, expected finite numbers"),
        (lambda d: d.update(format=1), "format"),
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
    probe = rounds(0.02, seed=3)
    whole = replace(probe, samples_s=tuple(50 * p for p in probe.samples_s), probe_s=probe.samples_s)
    halved = replace(
        whole,
        samples_s=tuple(2 * s for s in whole.samples_s),
        probe_s=tuple(2 * p for p in probe.samples_s),
    )
    (comparison,) = compared(report(whole), report(halved))
    assert comparison.ratio is not None
    assert comparison.ratio.ratio == pytest.approx(1.0)


def test_where_one_run_has_no_probes_seconds_are_compared():
    probe = rounds(0.02, seed=3)
    with_probes = replace(probe, samples_s=tuple(50 * p for p in probe.samples_s), probe_s=probe.samples_s)
    (comparison,) = compared(report(with_probes), report(replace(with_probes, probe_s=())))
    assert comparison.ratio is not None
    assert comparison.ratio.ratio == pytest.approx(1.0)


def test_rounds_with_the_same_arrivals_are_pairs():
    first = Row("s", "a", {}, (1.0, 2.0, 4.0), measures={"arrivals_per_s": 1.0}, rounds=(1, 1, 1))
    second = replace(first, samples_s=(1.09, 2.2, 4.45))
    for measures, seen in ((first.measures, True), ({}, False)):
        runs = (report(replace(each, measures=measures)) for each in (first, second))
        (comparison,) = compared(*runs)
        assert comparison.ratio is not None
        assert comparison.ratio.differs is seen


def test_a_table_names_what_became_slower_and_what_cannot_be_compared():
    first = report(
        rounds(1.0), Row("s", "b", {}, (1.0,)), Row("s", "c", {}, (1.0,)), Row("s", "e", {}, (1.0,))
    )
    second = report(
        rounds(1.3, seed=1),
        Row("s", "b", error="broke"),
        Row("s", "d", {}, (1.0,)),
        Row("s", "e", {}, (2.0,)),
    )
    lines = table(first, second).splitlines()
    assert "s a  SLOWER" in lines[1]
    assert "s b: failed: broke" in lines[2]
    assert "s d: only in the second run" in lines[3]
    assert lines[4].split() == ["2.000", "0.000", "to", "inf", "s", "e"]
    assert "s c: only in the first run" in lines[5]


def test_a_table_says_what_the_runs_do_not_have_in_common():
    first, second = report(Row("s", "a", {}, (1.0,))), report(Row("s", "a", {}, (1.0,)))
    other = replace(second, environment={**second.environment, "cores": 64})
    assert "cores" not in table(first, second)
    assert table(first, other).startswith(
        f"cores: {ENVIRONMENT['cores']} in the first run, 64 in the second\n"
    )


def test_a_table_names_what_else_has_moved():
    before = Row("s", "a", {}, (1.0,), measures={"images_per_s": 1.0, "x": 0.0}, quality={"edge_f1": 0.5})
    now = replace(before, measures={"images_per_s": 0.5, "x": 0.0}, quality={"edge_f1": 0.52})
    assert table(report(before), report(now)).endswith("s a  (images_per_s 1 to 0.5)")
    assert table(report(before), report(before)).endswith("s a")
