"""One shot at a time, small: subjects beside each other, in turns or alone, and one that fails."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from packshot import Parameters
from packshot_bench.context import subjects
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.subjects.onnx_loop import OnnxLoop
from packshot_bench.subjects.served import Served
from tests.benchmarks.scenario_rows import rows_of
from tests.processor import HAS_BF16

#: diffusers warns of its own deprecated calls.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_all_subjects_are_measured_beside_each_other(context):
    shots = rows_of(OneShot(side=64, parameters=Parameters(2, guidance_scale=2.0)), context)
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
