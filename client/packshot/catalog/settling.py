"""What becomes of an item's pictures: delivered or set apart, each with a sidecar."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packshot.catalog.delivery import SUFFIXES, move, write_json
from packshot.catalog.gate import Measures
from packshot.catalog.items import Item
from packshot.catalog.provenance import GENERATED, PLAIN
from packshot.catalog.styles import Style
from packshot.catalog.work import Task, work_path
from packshot.errors import InvalidArgument, PackshotError

DELIVERED, REJECTED, PARTIAL = "delivered", "rejected", "partial"


def settle(
    task: Task, made: Sequence[Mapping[str, Any]], folder: Path, keep_best: int | None, before: Sequence[str]
) -> dict[str, Any]:
    """Deliver an item's pictures, or set them apart.

    May be done again after a stop at any moment, with the same outcome.

    Args:
        task: the item.
        made: the records of all its pictures, in the order of their seeds.
        folder: of the catalogue.
        keep_best: how many are delivered at most; None for all that pass the gate.
        before: paths, in the folder, of what an earlier form of this item had; what is not replaced
            goes away.

    Returns:
        The item's record. Its status is ``delivered``, ``partial`` if fewer pictures than wanted
        passed, or ``rejected`` if none did.
    """
    item = task.item
    failures = {record["key"]: _failures(record, item.style) for record in made}
    passed = [record for record in made if not failures[record["key"]]]
    # Python's sort keeps the order of seeds among equals.
    best = sorted(passed, key=lambda record: -Measures(**record["gate"]).score)[:keep_best]
    chosen = {record["key"] for record in best}
    pictures = []
    for record in made:
        key = record["key"]
        if not failures[key] and key not in chosen:
            failures[key] = [f"score: not among the best {keep_best}"]
        places = {where: _path(where, item, record["seed"]) for where in (DELIVERED, REJECTED)}
        path = places[DELIVERED if key in chosen else REJECTED]
        sources = (work_path(folder, key, item), *(folder / place for place in places.values()))
        _put(sources, folder / path, record["sha256"])
        write_json((folder / path).with_suffix(".json"), _sidecar(task, record, failures[key]))
        own = {name: value for name, value in record.items() if name not in ("kind", "sku")}
        pictures.append({**own, "path": path.as_posix(), "failures": failures[key]})
    kept = {picture["path"] for picture in pictures}
    for name in {*before} - kept:
        (folder / name).unlink(missing_ok=True)
        (folder / name).with_suffix(".json").unlink(missing_ok=True)
    wanted = min(keep_best or len(made), len(made))
    return {
        "kind": "item",
        "sku": item.sku,
        "line": item.line,
        "key": task.keys.item,
        "photo": str(item.photo),
        "status": REJECTED if not chosen else DELIVERED if len(chosen) == wanted else PARTIAL,
        "pictures": pictures,
    }


def is_there(record: Mapping[str, Any], folder: Path) -> bool:
    """Whether a settled item's files are where its record says."""
    return all((folder / picture["path"]).is_file() for picture in record["pictures"])


def _failures(record: Mapping[str, Any], style: Style) -> list[str]:
    """What a picture fails, of the gate and of its market's rules."""
    gate = Measures(**record["gate"]).failures(style.gate, plain=style.background is not None)
    rules = [
        f"{style.preset} {rule['rule']}: {rule['measured']}, expected {rule['limit']}"
        for rule in record["preset"]
        if not rule["passed"]
    ]
    return [*gate, *rules]


def _path(where: str, item: Item, seed: int) -> Path:
    return Path(where) / item.name / f"{item.name}-{seed}{SUFFIXES[item.style.output_format]}"


def _put(sources: Sequence[Path], target: Path, sha256: str) -> None:
    """Move a made picture to its place, from wherever a stopped run or an earlier gate left it."""
    for source in sources:
        if source.is_file() and hashlib.sha256(source.read_bytes()).hexdigest() == sha256:
            if source != target:
                move(source, target)
                source.with_suffix(".json").unlink(missing_ok=True)
            return
    raise FileNotFoundError(f"{sources[0]}: made, recorded, and gone")


def _sidecar(task: Task, record: Mapping[str, Any], failures: list[str]) -> dict[str, Any]:
    item, style = task.item, task.item.style
    return {
        "sku": item.sku,
        "digital_source_type": GENERATED if style.background is None else PLAIN,
        "prompt": style.prompt,
        "negative_prompt": style.negative_prompt,
        "background_color": style.background_color,
        "seed": record["seed"],
        "parameters": style.parameters.as_dict(),
        "inputs_sha256": task.keys.inputs,
        "sha256": record["sha256"],
        "key": record["key"],
        "gate": record["gate"],
        "preset": record["preset"],
        "failures": failures,
        "timings_s": record["timings_s"],
        "packshot": version("packshot"),
    }


def failure(task: Task, error: PackshotError, last: Mapping[str, Any] | None) -> dict[str, Any]:
    """The record of an item that failed.

    Args:
        task: the item.
        error: why.
        last: its last record; what was delivered for it then is still there.
    """
    message = str(error)
    parameter, colon, _ = message.partition(":")
    return {
        "kind": "error",
        "sku": task.item.sku,
        "line": task.item.line,
        "key": task.keys.item,
        "code": error.code,
        "message": message,
        "parameter": parameter if colon and error.code == InvalidArgument.code else None,
        "pictures": (last or {}).get("pictures", []),
    }


def disk_error(error: OSError) -> PackshotError:
    """What the operator is told when a file cannot be written."""
    why = error.strerror or str(error)
    hint = "; make room, and run the same command again" if error.errno == errno.ENOSPC else ""
    return PackshotError(f"{error.filename or 'output'}: {why}{hint}")
