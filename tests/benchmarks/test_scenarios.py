"""The scenarios on the real server, small: what they measure is there, and has the form that is promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from packshot import Parameters
from packshot_bench import cli
from packshot_bench.context import Context
from packshot_bench.matrix_rate import matrix_rate_flops, matrix_rates_flops
from packshot_bench.results import Report, Row
from packshot_bench.scenarios import FULL, QUICK, by_name
from packshot_bench.scenarios.catalogue import Catalogue
from packshot_bench.scenarios.cold_start import ColdStart
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.scenarios.sam import InteractiveSam
from packshot_bench.work import flop_per_picture
from tests.benchmarks.scenario_rows import rows_of


def test_the_machines_rate_is_that_of_its_best_library():
    rates = matrix_rates_flops()
    assert set(rates) == {"numpy", "onnxruntime", "torch"}
    assert matrix_rate_flops() == max(rates.values())
    assert min(rates.values()) > 1e9


def test_a_picture_of_twice_the_steps_is_nearly_twice_the_work(context):
    one, two, four = (flop_per_picture(context.checkpoints, 64, steps) for steps in (1, 2, 4))
    assert one > 0
    assert four - two == pytest.approx(2 * (two - one))


def test_who_comes_first_in_a_round_comes_last_in_the_next(context):
    turns = [
        "".join(replace(context, round=number).in_turn("AB", shot)) for number in (0, 1) for shot in (0, 1)
    ]
    assert turns == ["AB", "BA", "BA", "AB"]


@pytest.mark.parametrize("full", [False, True])
def test_every_scenario_can_be_run_alone(full, tmp_path, monkeypatch):
    names = by_name(FULL if full else QUICK)
    assert {"one_shot", "cold_start", "concurrency", "open_loop", "mixed_steps", "catalogue"} <= set(names)
    asked = []
    monkeypatch.setattr(cli, "measured", lambda scenarios, *_: asked.extend(scenarios) or ())
    options = ["run", "--output", str(tmp_path / "x.json"), *(["--full"] if full else [])]
    twice = [word for name in names for word in ("--scenario", name)] * 2
    run = CliRunner().invoke(cli.bench, [*options, *twice])
    assert run.exit_code == 0, run.output
    assert asked == list(names.values())
    run = CliRunner().invoke(cli.bench, [*options, "--scenario", "nothing"])
    assert "--scenario: got 'nothing', expected one of one_shot" in str(run.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoints", "nowhere"], "--checkpoints: got nowhere"),
        (["--output", "README.md"], "report: got README.md"),
        (["--output", "/proc/x.json"], "--output: got /proc/x.json"),
    ],
)
def test_what_cannot_end_well_is_not_begun(options, message, monkeypatch):
    monkeypatch.setattr(cli, "measured", lambda *_: pytest.fail("it was begun"))
    run = CliRunner().invoke(cli.bench, ["run", "--output", "/nowhere/x.json", *options])
    assert message in str(run.exception)


class BreaksOff:
    """A scenario of two rows, the second of which does not come."""

    name = "breaks_off"
    once = False

    def run(self, context: Context) -> Iterator[Row]:
        yield Row(self.name, "first", {}, (1.0,))
        raise RuntimeError("no more")


class Once(BreaksOff):
    """A scenario that is there in the first round only."""

    name = "once"
    once = True

    def run(self, context: Context) -> Iterator[Row]:
        yield Row(self.name, "first", {"round": context.round}, (1.0,))


def test_a_scenario_that_breaks_off_costs_no_other_its_rows(context, tmp_path, monkeypatch):
    loop = OneShot(side=64, parameters=Parameters(1), names=("onnxruntime loop",))
    monkeypatch.setattr(cli, "QUICK", (BreaksOff(), Once(), loop))
    output = tmp_path / "bench.json"
    run = CliRunner().invoke(
        cli.bench,
        ["run", "--output", str(output), "--rounds", "2", "--repeats", "1",
         "--repository", str(context.repository), "--checkpoints", str(context.checkpoints)],
    )  # fmt: skip
    assert run.exit_code == 1, run.output
    told = [(row.scenario, row.subject, row.error, row.rounds) for row in Report.read(output).rows]
    assert told == [
        ("breaks_off", "first", None, (1, 1)),
        ("breaks_off", "the scenario", "RuntimeError: no more", ()),
        ("once", "first", None, (1,)),
        ("one_shot", "onnxruntime loop", None, (1, 1)),
    ]


def test_prompts_of_the_default_family_are_measured(context):
    """Its SAM's checkpoint is in half precision, the tiny families' are not."""
    pocket = Context(Path("model_repository"), Path("pocket/weights"), 1, context.tell, context.probe)
    rows = list(InteractiveSam(photos=2).run(pocket))
    assert [(row.subject, row.case["prompt"], len(row.samples_s)) for row in rows] == [
        ("packshot", "first", 2), ("packshot", "next", 6), ("transformers", "any", 2),
    ]  # fmt: skip


def test_a_cold_start_is_told_by_its_stages(context):
    row = rows_of(ColdStart(side=64, steps=1, names=("packshot",)), context)["packshot"]
    assert row.error is None
    assert list(row.stages_s) == ["import", "start", "picture"]
    assert sum(samples[0] for samples in row.stages_s.values()) == pytest.approx(row.samples_s[0])
    assert row.probe_s[0] > 0
    # Server and client are several processes with numpy or ONNX Runtime each.
    assert row.measures["peak_memory_bytes"] > 200e6


def test_a_cold_start_that_fails_is_a_row(context):
    nowhere = Context(context.repository / "nowhere", context.checkpoints, 1, context.tell, context.probe)
    row = rows_of(ColdStart(names=("packshot",)), nowhere)["packshot"]
    assert row.error is not None
    assert "nowhere" in row.error


def test_a_catalogue_takes_turns_with_the_server_alone(context):
    scenario = Catalogue(items=4, in_flight=2, side=64, parameters=Parameters(1))
    for number, first in enumerate(("packshot", "server alone")):
        rows = rows_of(scenario, replace(context, round=number))
        assert next(iter(rows)) == first
        assert [len(row.samples_s) for row in rows.values()] == [1, 1]
        # The runner does all that the server alone does, and more.
        assert (
            0.2
            < rows["packshot"].measures["images_per_s"] / rows["server alone"].measures["images_per_s"]
            < 1.1
        )
        assert rows["packshot"].measures["runner_memory_bytes"] > 50e6
