"""The document of a run: an environment and rows, under ``schema.json``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from packshot.errors import InvalidArgument, expected
from packshot_bench.failure import failure
from packshot_bench.samples import Summary, summarised

FORMAT = 2
SCHEMA = Path(__file__).with_name("schema.json")
#: The subject of a row that says why a scenario broke off.
WHOLE = "the scenario"
#: Of several rounds it is the greatest that counts; of other numbers, the median.
_GREATEST = frozenset(("greatest_difference", "peak_memory_bytes"))


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
        rounds: how many of the samples are of each round, in their order; all of one unless told.

    Raises:
        ValueError: there is not a probe for each sample, or the rounds have another number of samples.
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

    def __post_init__(self) -> None:
        count = len(self.samples_s)
        if count and not self.rounds:
            object.__setattr__(self, "rounds", (count,))
        if sum(self.rounds) != count or len(self.probe_s) not in (0, count):
            got = f"{count} samples, {len(self.probe_s)} probes, rounds of {self.rounds}"
            raise ValueError(f"row: got {got}, expected as many of each")

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
        return [float(np.median(each)) for each in np.split(samples, np.cumsum(self.rounds)[:-1])]


def merged(rows: Sequence[Row]) -> Row:
    """Rows of one key from several rounds as one.

    Samples follow each other; of a measure or quality it is the rounds' median, or the greatest of what is
    bad if it is great. A round that failed makes the row a failure.
    """
    for row in rows:
        if row.error:
            return row
    return replace(
        rows[0],
        samples_s=tuple(sample for row in rows for sample in row.samples_s),
        probe_s=tuple(probe for row in rows for probe in row.probe_s),
        stages_s={name: tuple(s for row in rows for s in row.stages_s[name]) for name in rows[0].stages_s},
        measures=_of_rounds([row.measures for row in rows]),
        quality=_of_rounds([row.quality for row in rows]),
        rounds=tuple(count for row in rows for count in row.rounds),
    )


def _of_rounds(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """A number of each name; not every round need have every one."""
    found: dict[str, list[float]] = {}
    for numbers in rounds:
        for name, number in numbers.items():
            found.setdefault(name, []).append(number)
    return {
        name: max(numbers) if name in _GREATEST else float(np.median(numbers))
        for name, numbers in found.items()
    }


def until_it_breaks(scenario: str, rows: Iterator[Row]) -> Iterator[Row]:
    """A scenario's rows; if it breaks off, those until then and one that says why."""
    try:
        yield from rows
    except Exception as error:
        logging.getLogger(__name__).exception("%s", scenario)
        yield Row(scenario, WHOLE, {}, error=failure(error))


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
        written = path.with_name(f".{path.name}.{os.getpid()}")
        written.write_text(json.dumps(document, indent=1) + "\n")
        written.replace(path)

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read a document.

        Raises:
            InvalidArgument: there is none, or it is not of this schema.
        """
        try:
            document = json.loads(path.read_text(), parse_constant=_refused)
            jsonschema.validate(document, json.loads(SCHEMA.read_text()))
        except (OSError, ValueError, RecursionError) as error:
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
            try:
                rows.append(Row(**values))
            except ValueError as error:
                raise InvalidArgument(f"report {path}: {values['scenario']}: {error}") from None
        return cls(document["environment"], tuple(rows))


def _refused(constant: str) -> float:
    raise ValueError(f"got {constant}, expected finite numbers")


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
