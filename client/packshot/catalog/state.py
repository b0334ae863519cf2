"""What the ledger says has been done, as small as a long catalogue needs it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.catalog.ledger import records

#: What may go well another time without anything being changed.
TRANSIENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


@dataclass(slots=True)
class _Last:
    """An item's last record."""

    path: Path
    offset: int
    key: str
    status: str
    at: float


class State:
    """A catalogue's state: of each item where its last record is, of unsettled ones their pictures.

    Args:
        folder: of the catalogue.
    """

    def __init__(self, folder: Path) -> None:
        self._last: dict[bytes, _Last] = {}
        self._pictures: dict[bytes, dict[str, dict[str, Any]]] = {}
        for path, offset, record in records(folder):
            self.take(path, offset, record)

    def take(self, path: Path, offset: int, record: dict[str, Any]) -> None:
        """Learn of a record.

        Args:
            path: of its ledger.
            offset: where its line begins there, in bytes.
            record: itself.
        """
        sku = _digest(record["sku"])
        if record["kind"] == "picture":
            self._pictures.setdefault(sku, {})[record["key"]] = record
            return
        if record["kind"] == "item":
            self._pictures.pop(sku, None)
        at, last = record.get("at", 0.0), self._last.get(sku)
        # Ledgers are read one after the other: a run of everything may be younger than one of shards.
        if last is None or last.path == path or last.at <= at:
            self._last[sku] = _Last(path, offset, record["key"], record.get("status") or record["code"], at)

    def __contains__(self, sku: str) -> bool:
        """Whether an item has been settled or has failed."""
        return _digest(sku) in self._last

    def last(self, sku: str) -> dict[str, Any] | None:
        """An item's last record: how it was settled, or why it failed."""
        last = self._last.get(_digest(sku))
        return None if last is None else _read(last)

    def pictures(self, sku: str) -> dict[str, dict[str, Any]]:
        """Records of an item's made pictures by their keys; those of settled ones are in the ledger."""
        return self._pictures.get(_digest(sku), {})

    def forget(self, sku: str, key: str) -> None:
        """A picture's file is gone: it is to be made again."""
        self._pictures[_digest(sku)].pop(key)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The last record of every item, in the order of the ledgers."""
        for last in sorted(self._last.values(), key=lambda each: (each.path, each.offset)):
            yield _read(last)

    def counts(self) -> dict[str, int]:
        """Items by status; of failed ones by the error's code."""
        return Counter(last.status for last in self._last.values())


def _digest(sku: str) -> bytes:
    return hashlib.blake2b(sku.encode(), digest_size=16).digest()


def _read(last: _Last) -> dict[str, Any]:
    with last.path.open("rb") as file:
        file.seek(last.offset)
        return json.loads(file.readline())
