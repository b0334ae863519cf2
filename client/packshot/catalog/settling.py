"""What becomes of an item's pictures: delivered or set apart, each with a sidecar."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packshot.catalog.delivery import SUFFIXES, move, write_json
from packshot.catalog.gate import Measures
from packshot.catalog.items import Item
from packshot.catalog.provenance import GENERATED, PLAIN
from packshot.catalog.styles import Style
from packshot.catalog.work import THUMBNAILS, WORK, Task, work_path
from packshot.errors import InvalidArgument, PackshotError

DELIVERED, REJECTED, PARTIAL = "delivered", "rejected", "partial"


def settle(
    task: Task,
    made: Sequence[Mapping[str, Any]],
    folder: Path,
    keep_best: int | None,
    last: Mapping[str, Any] | None = None,
    others: Iterable[str] = (),
) -> dict[str, Any]:
    """Deliver an item's pictures, or set them apart.

    May be done again after a stop at any moment, with the same outcome.

    Args:
        task: the item.
        made: the records of all its pictures, in the order of their seeds.
        folder: of the catalogue.
        keep_best: how many are delivered at most; None for all that pass the gate.
        last: record of an earlier form of this item; those of its files that are not replaced go away.
        others: keys of pictures that were made for an earlier form and never delivered; they go, too.

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
        path = _path(DELIVERED if key in chosen else REJECTED, item, record["seed"])
        _put(found(item, record, folder), folder / path)
        write_json((folder / path).with_suffix(".json"), _sidecar(task, record, failures[key]))
        own = {name: value for name, value in record.items() if name not in ("kind", "sku")}
        pictures.append({**own, "path": path.as_posix(), "failures": failures[key]})
    _clear(folder, task, {picture["path"] for picture in pictures}, last or {}, others)
    wanted = min(keep_best or len(made), len(made))
    return {
        "kind": "item",
        "sku": item.sku,
        "line": item.line,
        "key": task.keys.item,
        "cutout": task.keys.cutout,
        "photo": str(item.photo),
        "status": REJECTED if not chosen else DELIVERED if len(chosen) == wanted else PARTIAL,
        "pictures": pictures,
    }


def is_there(record: Mapping[str, Any], folder: Path) -> bool:
    """Whether a settled item's files are where its record says."""
    paths = [folder / picture["path"] for picture in record["pictures"]]
    files = [file for path in paths for file in (path, path.with_suffix(".json"))]
    return all(file.is_file() and file.stat().st_size for file in files)


def found(item: Item, record: Mapping[str, Any], folder: Path) -> Path | None:
    """Where a made picture's file is, as whole as it was made; None if it is nowhere.

    That is where it was made, or where a stopped run or an earlier gate put it.

    Args:
        item: whose it is.
        record: of the picture.
        folder: of the catalogue.
    """
    places = [folder / _path(where, item, record["seed"]) for where in (DELIVERED, REJECTED)]
    for path in (work_path(folder, record["key"], item), *places):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"]:
            return path
    return None


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


def _put(source: Path | None, target: Path) -> None:
    """Move a made picture to its place."""
    if source is None:
        raise FileNotFoundError(errno.ENOENT, "made, recorded, and gone", str(target))
    if source != target:
        move(source, target)
        source.with_suffix(".json").unlink(missing_ok=True)
        if source.parent.name != WORK:  # There others are writing.
            _drop_empty(source.parent)


def _clear(folder: Path, task: Task, kept: set[str], last: Mapping[str, Any], others: Iterable[str]) -> None:
    """Remove what earlier forms of an item have left: pictures, sidecars and small copies."""
    before = last.get("pictures", [])
    gone = {picture["path"] for picture in before} - kept
    keys = {*others, *(picture["key"] for picture in before)} - {*task.keys.pictures}
    small = [folder / THUMBNAILS / f"{key}.jpg" for key in keys]
    if last.get("cutout") not in (None, task.keys.cutout):
        small += [folder / THUMBNAILS / f"{last['cutout']}-{what}.jpg" for what in ("photo", "cutout")]
    half_made = [folder / WORK / f"{key}{suffix}" for key in keys for suffix in SUFFIXES.values()]
    pictures = [folder / name for name in gone]
    # In another format a picture keeps its sidecar's name.
    sidecars = {path.with_suffix(".json") for path in pictures}
    sidecars -= {(folder / name).with_suffix(".json") for name in kept}
    for path in [*pictures, *sidecars, *small, *half_made]:
        path.unlink(missing_ok=True)
    for path in pictures:
        _drop_empty(path.parent)


def _drop_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _sidecar(task: Task, record: Mapping[str, Any], failures: list[str]) -> dict[str, Any]:
    item, style = task.item, task.item.style
    return {
        "sku": item.sku,
        "digital_source_type": GENERATED if style.background is None else PLAIN,
        "prompt": style.prompt,
        "negative_prompt": style.negative_prompt,
        "background_color": style.background_color,
        "seed": record["seed"],
        "parameters": record["parameters"],
        "num_truncated_tokens": truncated(record),
        "inputs_sha256": task.keys.inputs,
        "sha256": record["sha256"],
        "key": record["key"],
        "gate": record["gate"],
        "preset": record["preset"],
        "failures": failures,
        "timings_s": record["timings_s"],
        "packshot": version("packshot"),
    }


def truncated(record: Mapping[str, Any]) -> list[int]:
    """Tokens of a picture's prompts that were not read; older ledgers do not tell them."""
    return [*record.get("num_truncated_tokens", (0, 0))]


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
        "cutout": (last or {}).get("cutout"),
        "pictures": (last or {}).get("pictures", []),
    }
