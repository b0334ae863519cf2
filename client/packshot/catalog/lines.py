"""The lines of a manifest as they stand in the file: JSONL, CSV or Parquet, read one by one."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.arrays import shown
from packshot.catalog.extra import needing
from packshot.errors import InvalidArgument, expected

#: Columns of CSV that hold more than text; their cells are JSON.
_JSON_COLUMNS = ("points", "labels", "boxes", "parameters", "gate")
#: Rows of Parquet that are read at a time.
_PARQUET_ROWS = 256


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a manifest.

    Attributes:
        number: in the file, counted from 1; of CSV the heading is line 1, of Parquet it is the row.
        values: by column; empty ones are left out.
        problem: why the line could not be read at all; then there are no values.
    """

    number: int
    values: Mapping[str, Any]
    problem: str | None = None


def read_lines(manifest: Path) -> Iterator[Line]:
    """The lines of a manifest, whatever its format; memory does not grow with it.

    Raises:
        InvalidArgument: there is no such file, or its name has none of the known suffixes.
    """
    read = _READERS.get(manifest.suffix.lower())
    if read is None:
        raise expected("manifest", str(manifest), f"a name that ends in {', '.join(_READERS)}")
    if not manifest.is_file():
        raise expected("manifest", f"{manifest}: no such file", "a manifest")
    return read(manifest)


def _jsonl(manifest: Path) -> Iterator[Line]:
    with manifest.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                values = json.loads(raw, parse_constant=_no_constant, object_pairs_hook=_once_each)
                # Half a surrogate pair is JSON, but no name of a file and no text for a model.
                json.dumps(values, ensure_ascii=False).encode()
            except (ValueError, RecursionError) as error:
                yield Line(number, {}, f"line: got {shown(raw.decode(errors='replace').strip())} ({error}), "
                           "expected a JSON object")  # fmt: skip
                continue
            if not isinstance(values, dict):
                yield Line(number, {}, f"line: got {shown(values)}, expected a JSON object")
                continue
            yield Line(number, {name: value for name, value in values.items() if value is not None})


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice!r} is there twice")
    return values


def _csv(manifest: Path) -> Iterator[Line]:
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        heading: list[str] | None = None
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                raise expected("manifest", f"{manifest} ({error})", "UTF-8") from None
            except csv.Error as error:
                # The reader takes up again at the next line.
                yield Line(
                    reader.line_num, {}, f"line: got something broken ({error}), expected cells of CSV"
                )
                continue
            if not row:
                continue
            if heading is None:
                heading = _heading(manifest, row)
            elif len(row) == len(heading):
                cells = zip(heading, row, strict=True)
                yield Line(
                    reader.line_num, {name: _cell(name, cell) for name, cell in cells if name and cell}
                )
            else:
                got = f"line: got {len(row)} cells, expected {len(heading)}, as the heading has"
                yield Line(reader.line_num, {}, got)


def _heading(manifest: Path, row: Sequence[str]) -> list[str]:
    """The names of the columns; of two with the same name one would be lost. Empty ones are no columns."""
    names = [name.strip() for name in row]
    for name in names:
        if name and names.count(name) > 1:
            raise expected(
                f"{manifest}, line 1", f"the column {name!r} twice", "another name for each column"
            )
    return names


def _cell(name: str, cell: str) -> Any:
    if name not in _JSON_COLUMNS:
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell  # As text it is refused with all else that is wrong on the line.


def _parquet(manifest: Path) -> Iterator[Line]:
    parquet = needing("catalog", "pyarrow.parquet")
    number = 0
    try:
        with parquet.ParquetFile(manifest) as file:
            names = _heading(manifest, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                for row in range(batch.num_rows):
                    number += 1
                    values = {name: _value(batch.column(i)[row]) for i, name in enumerate(names) if name}
                    yield Line(number, {name: each for name, each in values.items() if each is not None})
    except (OSError, ValueError) as error:  # pyarrow's own errors are these
        if isinstance(error, InvalidArgument):
            raise
        raise expected("manifest", f"{manifest} ({error})", "a Parquet file") from None


def _value(scalar: Any) -> Any:
    """A cell as Python's value; None for one that Python has none for, such as a day in the year 10000.

    What uses it finds it empty, and most columns nothing uses.
    """
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, LookupError, NotImplementedError):
        return None


_READERS: dict[str, Callable[[Path], Iterator[Line]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
