"""What the operator is left with: results, errors, a summary and the contact sheet."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from packshot.catalog.delivery import write_json
from packshot.catalog.items import Problem
from packshot.catalog.plan import Shard
from packshot.catalog.settling import truncated
from packshot.catalog.sheet import write_sheet
from packshot.catalog.state import State
from packshot.errors import InvalidArgument

#: Fields of an error's record that ``errors.jsonl`` has.
_ERROR_FIELDS = ("sku", "line", "code", "message", "parameter")


def write_reports(
    folder: Path, state: State, shard: Shard, problems: Sequence[Problem] = ()
) -> dict[str, Any]:
    """Write ``results.jsonl``, ``errors.jsonl``, ``summary.json`` and the contact sheet.

    All of them are made from the ledgers, so any run may write them again. Shards write files of their
    own beside each other, ``results-0-of-4.jsonl``, each of everything that is in the ledgers so far.

    Args:
        folder: of the catalogue.
        state: read after the run.
        shard: of this run.
        problems: of the manifest, whose lines were left out.

    Returns:
        The summary: items by status, lines left out, pictures delivered and rejected, failures by reason,
        and items whose prompts were cut off.
    """
    suffix = f"-{shard.name}" if shard.name else ""
    reasons: Counter[str] = Counter()
    pictures, cut_off = {"delivered": 0, "rejected": 0}, 0
    with (
        _replaced(folder / f"results{suffix}.jsonl") as results,
        _replaced(folder / f"errors{suffix}.jsonl") as errors,
    ):
        for problem in problems:
            parameter = problem.message.partition(":")[0]
            told = (problem.sku, problem.line, InvalidArgument.code, problem.message, parameter)
            _line(errors, dict(zip(_ERROR_FIELDS, told, strict=True)))
        for record in state:
            if record["kind"] == "error":
                _line(errors, {name: record[name] for name in _ERROR_FIELDS})
                reasons[record["code"]] += 1
                continue
            _line(results, {name: value for name, value in record.items() if name != "kind"})
            cut_off += any(any(truncated(picture)) for picture in record["pictures"])
            for picture in record["pictures"]:
                pictures["rejected" if picture["failures"] else "delivered"] += 1
                reasons.update(failure.partition(":")[0] for failure in picture["failures"])
    left_out = len({problem.line for problem in problems})
    summary = {
        "items": state.counts(), "left_out": left_out, "pictures": pictures, "failures": reasons,
        "prompts_cut_off": cut_off,
    }  # fmt: skip
    write_json(folder / f"summary{suffix}.json", summary)
    write_sheet(folder, state, summary)
    return summary


def _line(file: TextIO, record: dict[str, Any]) -> None:
    file.write(json.dumps(record, ensure_ascii=False) + "\n")


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """A file that takes another's place when it is complete."""
    partial = path.with_name(f".packshot-{os.getpid()}-{path.name}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
