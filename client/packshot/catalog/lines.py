"""The lines of a manifest as they stand in the file: JSONL, CSV or Parquet, read one by one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.arrays import shown
from packshot.catalog.extra import needing
from packshot.errors import InvalidArgument, expected

#: Columns of CSV that hold more than text; their cells are JSON.
JSON_COLUMNS = ("points", "labels", "boxes")
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
                values = json.loads(raw, parse_constant=_no_constant)
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


def _csv(manifest: Path) -> Iterator[Line]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                number = reader.line_num
                if None in row or None in row.values():
                    got = sum(value is not None for name, value in row.items() if name is not None)
                    got += len(row.get(None) or [])
                    columns = len(reader.fieldnames or ())
                    yield Line(number, {}, f"line: got {got} cells, expected {columns}, as the heading has")
                    continue
                yield _from_cells(number, row)
    except UnicodeDecodeError as error:
        raise expected("manifest", f"{manifest} ({error})", "UTF-8") from None
    except csv.Error as error:
        raise expected("manifest", f"{manifest} ({error})", "CSV") from None


def _from_cells(number: int, row: Mapping[str, str]) -> Line:
    values: dict[str, Any] = {}
    for name, cell in row.items():
        if cell == "":
            continue
        if name not in JSON_COLUMNS:
            values[name] = cell
            continue
        try:
            values[name] = json.loads(cell)
        except ValueError:
            return Line(number, {}, f"{name}: got {shown(cell)}, expected JSON, such as [[10,20],[30,40]]")
    return Line(number, values)


def _parquet(manifest: Path) -> Iterator[Line]:
    parquet = needing("catalog", "pyarrow.parquet")
    number = 0
    try:
        with parquet.ParquetFile(manifest) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Line(number, {name: value for name, value in row.items() if value is not None})
    except (OSError, ValueError) as error:  # pyarrow's own errors are these
        if isinstance(error, InvalidArgument):
            raise
        raise expected("manifest", f"{manifest} ({error})", "a Parquet file") from None


_READERS: dict[str, Callable[[Path], Iterator[Line]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
