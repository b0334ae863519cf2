"""The document of a run: an environment and rows, under ``schema.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from packshot.errors import InvalidArgument, expected
from packshot_bench.samples import Summary, summarised

FORMAT = 1
SCHEMA = Path(__file__).with_name("schema.json")


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

    @property
    def key(self) -> str:
        """What makes rows of two runs the same row."""
        return json.dumps([self.scenario, self.subject, dict(self.case)], sort_keys=True)

    @property
    def summary(self) -> Summary | None:
        """Of the samples; None if there are none."""
        return summarised(self.samples_s) if self.samples_s else None

    @property
    def steadied(self) -> tuple[float, ...]:
        """The samples in units of the probe, if there is one."""
        if not self.probe_s:
            return self.samples_s
        return tuple(sample / probe for sample, probe in zip(self.samples_s, self.probe_s, strict=True))


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
            for name in ("samples_s", "probe_s"):
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
