"""The document of a run: an environment and rows, under ``schema.json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from packshot.errors import InvalidArgument, expected
from packshot_bench.samples import Summary, summarised

FORMAT = 2
SCHEMA = Path(__file__).with_name("schema.json")
#: What becomes of a measure in several rounds, if not their median.
_WORST: Mapping[str, Callable[[Sequence[float]], float]] = {
    "greatest_difference": max,
    "peak_memory_bytes": max,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one subject did in one scenario.

    Attributes:
        scenario: its name.
        subject: what was measured.
        case: what tells rows of a scenario apart: concurrency, load, steps, …
        samples_s: seconds of each request or call, in the order of measuring.
        probe_s: seconds of the speed probe next to each sample; empty where there is none. Two runs are
            compared by ``samples_s / probe_s``, from which the machine's own moods have gone.
        stages_s: seconds by stage, a sample for each of ``samples_s``.
        measures: other numbers: images_per_s, rows_per_step, peak_memory_bytes, flop_per_picture,
            of_matrix_rate, step_s, …
        quality: greatest_difference to the fp32 reference, 0 to 255; edge_f1 against the control image.
        error: why there are no samples.
        rounds: how many of the samples are of each round, in their order; empty if all are of one.
    """

    scenario: str
    subject: str
    case: Mapping[str, Any] = field(default_factory=dict)
    samples_s: tuple[float, ...] = ()
    probe_s: tuple[float, ...] = ()
    stages_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    rounds: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """What makes rows of two runs the same row."""
        return json.dumps([self.scenario, self.subject, dict(self.case)], sort_keys=True)

    @property
    def summary(self) -> Summary | None:
        """Of the samples; None if there are none."""
        return summarised(self.samples_s) if self.samples_s else None

    def medians(self, *, steadied: bool = False) -> list[float]:
        """Of each round: seconds, or if ``steadied`` in units of the probe."""
        samples = np.array(self.samples_s)
        if steadied:
            samples = samples / self.probe_s
        ends = np.cumsum(self.rounds or (len(samples),))[:-1]
        return [float(np.median(each)) for each in np.split(samples, ends)]


def merged(rows: Sequence[Row]) -> Row:
    """Rows of one key from several rounds as one.

    Samples follow each other; of measures and quality it is the median of the rounds, or the worst where
    the name says so (``greatest_difference``, ``peak_memory_bytes``). One that failed makes it a failure.
    """
    for row in rows:
        if row.error:
            return row
    first = rows[0]
    samples, probe, rounds = (
        tuple(value for row in rows for value in values(row))
        for values in (
            lambda row: row.samples_s,
            lambda row: row.probe_s,
            lambda row: row.rounds or (len(row.samples_s),),
        )
    )
    stages = {stage: tuple(s for row in rows for s in row.stages_s[stage]) for stage in first.stages_s}
    measures, quality = (
        {name: _WORST.get(name, _median)([values[name] for values in of_rows]) for name in of_rows[0]}
        for of_rows in ([row.measures for row in rows], [row.quality for row in rows])
    )
    return replace(
        first, samples_s=samples, probe_s=probe, stages_s=stages, measures=measures, quality=quality,
        rounds=rounds,
    )  # fmt: skip


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


@dataclass(frozen=True, slots=True)
class Report:
    """A run.

    Attributes:
        environment: machine, versions, commit, artifacts.
        rows: everything that was measured; failures among it.
    """

    environment: Mapping[str, Any]
    rows: tuple[Row, ...]

    def write(self, path: Path) -> None:
        """Write the document; numbers are rounded to what a clock can tell."""
        rows = [_rounded({**asdict(row), "summary": _summary(row)}) for row in self.rows]
        document = {"format": FORMAT, "environment": dict(self.environment), "rows": rows}
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read a document.

        Raises:
            InvalidArgument: there is none, or it is not of this schema.
        """
        try:
            document = json.loads(path.read_text())
            jsonschema.validate(document, json.loads(SCHEMA.read_text()))
        except (OSError, ValueError) as error:
            raise expected("report", f"{path} ({error})", "a file that `packshot bench` wrote") from None
        except jsonschema.ValidationError as error:
            where = "/".join(map(str, error.absolute_path))
            raise InvalidArgument(f"report {path}: {where}: {error.message}") from None
        rows = []
        for values in document["rows"]:
            values = {name: value for name, value in values.items() if name != "summary"}
            for name in ("samples_s", "probe_s", "rounds"):
                values[name] = tuple(values[name])
            values["stages_s"] = {stage: tuple(samples) for stage, samples in values["stages_s"].items()}
            rows.append(Row(**values))
        return cls(document["environment"], tuple(rows))


def _summary(row: Row) -> dict[str, float] | None:
    return asdict(row.summary) if row.summary else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
