"""The scenarios on the real server, small: what they measure is there, and has the form that is promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from packshot import Parameters
from packshot_bench import cli
from packshot_bench.context import Context, subjects
from packshot_bench.matrix_rate import matrix_rate_flops, matrix_rates_flops
from packshot_bench.plots import plot
from packshot_bench.probe import Probe
from packshot_bench.results import Report, Row
from packshot_bench.scenarios import FULL, QUICK, by_name
from packshot_bench.scenarios.catalogue import Catalogue
from packshot_bench.scenarios.cold_start import ColdStart
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.scenarios.sam import InteractiveSam
from packshot_bench.subjects.onnx_loop import OnnxLoop
from packshot_bench.subjects.served import Served
from packshot_bench.work import flop_per_picture
from tests.benchmarks.test_results import ENVIRONMENT
from tests.families import exported
from tests.processor import HAS_BF16

#: diffusers warns of its own deprecated calls.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def context():
    checkpoints, repository = exported("tiny-sd2")
    return Context(repository, checkpoints, 2, lambda line: None, Probe())


def rows_of(scenario, context) -> dict[str, Row]:
    return {row.subject: row for row in scenario.run(context)}


@pytest.fixture(scope="module")
def shots(context):
    return rows_of(OneShot(side=64, parameters=Parameters(2, guidance_scale=2.0)), context)


def test_one_shot_measures_all_subjects_beside_each_other(shots):
    assert len(shots) == 5
    failed = {name: row.error for name, row in shots.items() if row.error}
    for name in () if HAS_BF16 else ("packshot bf16", "diffusers eager bf16"):
        assert failed.pop(name).startswith("ServerStartError: bf16: got a processor")
    assert not failed
    assert {len(row.samples_s) for row in shots.values() if not row.error} == {2}
    # The same pictures, but for rounding; in bf16 that is much.
    assert shots["packshot"].quality["greatest_difference"] <= 2
    assert shots["onnxruntime loop"].quality["greatest_difference"] <= 2
    served = shots["packshot"]
    assert sum(map(sum, served.stages_s.values())) == pytest.approx(sum(served.samples_s), rel=0.05)
    assert all(served.stages_s[stage][0] > 0 for stage in ("client", "text", "steps", "paste"))
    assert served.measures["step_s"] == pytest.approx(np.median(served.stages_s["steps"]) / 2)
    assert 0 < served.measures["of_matrix_rate"] < 1


def test_the_machines_rate_is_that_of_its_best_library():
    rates = matrix_rates_flops()
    assert set(rates) == {"numpy", "onnxruntime", "torch"}
    assert matrix_rate_flops() == max(rates.values())
    assert min(rates.values()) > 1e9


def test_a_picture_of_twice_the_steps_is_nearly_twice_the_work(context):
    one, two, four = (flop_per_picture(context.checkpoints, 64, steps) for steps in (1, 2, 4))
    assert one > 0
    assert four - two == pytest.approx(2 * (two - one))


def test_a_subject_that_fails_is_a_row(context, monkeypatch):
    makers = {"packshot": lambda context: Served(context.repository / "nowhere")}
    monkeypatch.setattr("packshot_bench.scenarios.one_shot.subjects", lambda: makers)
    row = rows_of(OneShot(side=64, parameters=Parameters(1), names=("packshot",)), context)["packshot"]
    assert row.error is not None
    assert "nowhere" in row.error
    assert not row.samples_s


class Fragile(OnnxLoop):
    """A subject that breaks at its second picture."""

    painted = 0

    def paint(self, job):
        self.painted += 1
        if self.painted > 1:
            raise RuntimeError("broken")
        return super().paint(job)


def test_a_subject_that_fails_on_the_way_costs_no_other_its_rows(context, monkeypatch):
    makers = {**subjects(), "fragile": lambda context: Fragile(context.repository)}
    monkeypatch.setattr("packshot_bench.scenarios.one_shot.subjects", lambda: makers)
    names = ("fragile", "onnxruntime loop")
    rows = list(OneShot(side=64, parameters=Parameters(1), names=names).run(context))
    assert [(row.subject, row.error, len(row.samples_s)) for row in rows] == [
        ("fragile", "RuntimeError: broken", 0), ("onnxruntime loop", None, 2),
    ]  # fmt: skip


def test_who_comes_first_in_a_round_comes_last_in_the_next(context):
    turns = [
        "".join(replace(context, round=number).in_turn("AB", shot)) for number in (0, 1) for shot in (0, 1)
    ]
    assert turns == ["AB", "BA", "BA", "AB"]


class Noting(OnnxLoop):
    """A subject that notes who was asked for what."""

    book: ClassVar[list[tuple[str, int]]] = []

    def paint(self, job):
        self.book.append((type(self).__name__, job.seed))
        return super().paint(job)


class Second(Noting):
    """Another one."""


def test_shots_are_in_turns_and_of_other_jobs_in_each_round(context, monkeypatch):
    monkeypatch.setattr(Noting, "book", [])
    makers = {
        "a": lambda context: Noting(context.repository),
        "b": lambda context: Second(context.repository),
    }
    monkeypatch.setattr("packshot_bench.scenarios.one_shot.subjects", lambda: makers)
    scenario = OneShot(side=64, parameters=Parameters(1), names=("a", "b"))
    for number in (0, 1):
        assert len(list(scenario.run(replace(context, round=number)))) == 2
    a, b = "Noting", "Second"
    assert Noting.book == [
        (a, 0), (b, 0), (a, 1), (b, 1), (b, 2), (a, 2),
        (a, 0), (b, 0), (b, 3), (a, 3), (a, 4), (b, 4),
    ]  # fmt: skip


class Staying(OnnxLoop):
    """A subject that notes when it comes and goes."""

    book: ClassVar[list[str]] = []

    def __init__(self, name, context):
        super().__init__(context.repository)
        self._name = name

    def __enter__(self):
        self.book.append(f"{self._name} comes")
        return super().__enter__()

    def __exit__(self, kind, error, trace):
        self.book.append(f"{self._name} goes")
        super().__exit__(kind, error, trace)


def test_shots_that_are_alone_share_no_memory_and_are_compared_all_the_same(context, monkeypatch):
    monkeypatch.setattr(Staying, "book", [])
    names = ("onnxruntime loop", "diffusers eager fp32")
    makers = {name: lambda context, name=name: Staying(name, context) for name in names}
    monkeypatch.setattr("packshot_bench.scenarios.one_shot.subjects", lambda: makers)
    scenario = OneShot(side=64, parameters=Parameters(1), names=names, alone=True)
    for number in (0, 1):
        rows = list(scenario.run(replace(context, round=number)))
        assert [(row.scenario, row.subject) for row in rows] == [("one_shot_alone", name) for name in names]
        assert all(row.quality["greatest_difference"] == 0 for row in rows)
    loop, other = names
    assert Staying.book == [
        f"{name} {does}" for name in (loop, other, other, loop) for does in ("comes", "goes")
    ]


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


def test_plots_of_what_there_is(shots, tmp_path):
    loads = [
        Row("open_loop", "packshot", {"load": load}, (0.1, 0.2, 0.3), measures={"arrivals_per_s": load})
        for load in (0.5, 0.8)
    ]
    calls = [
        Row("concurrency", "packshot", {"callers": callers}, (0.1, 0.2), measures={"images_per_s": callers})
        for callers in (1, 2)
    ]
    report = Report(ENVIRONMENT, (*shots.values(), *loads, *calls, Row("one_shot", "broken", error="no")))
    written = plot(report, tmp_path / "plots")
    assert sorted(path.name for path in written) == sorted(
        f"{name}.{kind}" for name in ("latency", "stages", "load", "throughput") for kind in ("png", "svg")
    )
    before = {path: path.read_bytes() for path in written}
    plot(report, tmp_path / "plots")
    assert before == {path: path.read_bytes() for path in written}


def test_no_rows_no_plots(tmp_path):
    assert plot(Report(ENVIRONMENT, ()), tmp_path) == []
