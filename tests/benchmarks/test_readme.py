"""What documents say of results: tables between marks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packshot import InvalidArgument
from packshot_bench.readme import BEGIN, END, RESULTS, others, repeated, replaced, weights
from packshot_bench.readme import shots as shots_block
from packshot_bench.results import Report, Row
from tests.benchmarks.test_results import ENVIRONMENT


@pytest.fixture(scope="module")
def shots():
    report = Report.read(RESULTS)
    return replace(report, rows=tuple(row for row in report.rows if row.scenario == "one_shot"))


def test_figures_stand_between_their_marks(shots):
    block = shots_block(shots)
    assert block.count("\n|") == 2 + sum(not row.error for row in shots.rows)
    text = replaced(f"before\n{BEGIN}stale\n{END}after\n", block)
    assert "stale" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert replaced(text, block) == text


def test_other_figures_leave_out_what_failed():
    rows = (
        Row(
            "concurrency",
            "packshot",
            {"callers": 2},
            (1.0, 2.0, 3.0),
            measures={"images_per_s": 0.5},
            rounds=(1, 2),
        ),
        Row("concurrency", "other", {"callers": 2}, error="no"),
        Row("concurrency", "another", {"callers": 2}, (2.0, 5.0, 5.0), rounds=(1, 2)),
    )
    *_, first, last = others(Report(ENVIRONMENT, rows)).splitlines()
    assert first == "| concurrency: callers 2 | packshot | 2.00 |  | 2.00 | 2.80 | 0.50 |  |"
    assert last == "| concurrency: callers 2 | another | 5.00 | 2.00 (2.00 to 2.00) | 4.00 | 5.00 |  |  |"


def test_shots_tell_of_how_many_starts_they_are_and_those_of_one_have_no_interval(shots):
    starts = max(len(row.rounds) for row in shots.rows)
    assert f"95 % confidence intervals over {starts} starts of each" in shots_block(shots)
    assert "inf" not in shots_block(replace(shots, rows=tuple(replace(row, rounds=()) for row in shots.rows)))


def test_shots_say_how_they_were_taken_and_what_each_library_can_do(shots):
    assert "interleaved, on 2 cores" in shots_block(shots)
    rates = {"numpy": 240.4, "torch": 210.0}
    alone = Report(
        {**ENVIRONMENT, "matrix_rates_gflops_fp32": rates},
        tuple(replace(row, scenario="one_shot_alone") for row in shots.rows),
    )
    told = "one subject after the other, on 2 cores of an a processor (GFLOP/s of large fp32 matrix products: numpy 240, torch 210)"
    assert told in shots_block(alone)
    with pytest.raises(InvalidArgument, match="expected a run of one_shot or one_shot_alone"):
        shots_block(Report(ENVIRONMENT, ()))


def test_runs_that_agree_are_counted_and_must_be_of_one_commit():
    def run(factor, **environment):
        rows = (
            Row("s", "a", {}, (1.0, 1.1, 1.2), rounds=(1, 1, 1)),
            Row("s", "b", {}, (factor, 1.01 * factor, 0.99 * factor), rounds=(1, 1, 1)),
            Row("s", "c", {}, (factor,)),
            Row("s", "d", {}, error="no"),
        )
        return Report({**ENVIRONMENT, **environment}, rows)

    assert "1.0 and 2.0 minutes" in repeated(run(1.0), run(2.0, took_s=120))
    assert "1 of 2 rows with several rounds agree" in repeated(run(1.0), run(2.0))
    with pytest.raises(InvalidArgument, match="two runs of one commit"):
        repeated(run(1.0), run(1.0, commit="another"))


def test_figures_of_the_weights_name_what_is_missed():
    measures = [
        {"name": "PSNR, dB", "value": 35.21, "n": 96, "at_least": 36, "passed": False},
        {"name": "IoU", "value": 0.95, "n": 8, "at_least": 0.9, "passed": True, "truth": 1.0},
        {"name": "seconds", "value": None, "n": 1, "passed": None},
    ]
    section = {"commit": "abc", "machine": {"gpu": None, "cores": 2}, "measures": measures}
    first, *_, one, two, three = weights({"sections": {"vae": section}}).splitlines()
    assert first == "Measured on 2 cores of a processor, at commit `abc`:"
    assert [one, two, three] == [
        "| vae: PSNR, dB | 35.2 | ≥ 36 | **no** | 96 |  |",
        "| vae: IoU | 0.95 | ≥ 0.9 | yes | 8 | 1 |",
        "| vae: seconds |  |  |  | 1 |  |",
    ]
    later = {**section, "commit": "def", "measures": []}
    assert weights({"sections": {"vae": section, "sam": later}}).startswith(
        "Measured vae on 2 cores of a processor, at commit `abc`; sam on 2 cores of a processor, at commit `def`:"
    )


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_document_without_one_pair_of_marks_is_refused(text):
    with pytest.raises(InvalidArgument, match="marks"):
        replaced(text, "")
