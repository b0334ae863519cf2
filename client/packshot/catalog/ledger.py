"""The ledger: what has been done, in one file that is only ever appended to.

A record is one line of JSON. It is written, and on the disk, before anybody relies on it. A line that
a power cut left half written is cut off when the ledger is next opened: what it would have said is done
again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from packshot.catalog.delivery import sync
from packshot.errors import PackshotError, expected

_NAME = "ledger.jsonl"
_OURS = re.compile(r"ledger(-\d+-of-(?P<count>\d+))?\.jsonl")


class Ledger:
    """A catalogue's ledger, open for one writer at a time.

    Args:
        folder: of the catalogue.
        shard: ``"2/4"`` as a file name's part, ``""`` for the only one. Every shard has a file of its own.

    Raises:
        PackshotError: another run has it.
    """

    def __init__(self, folder: Path, shard: str = "") -> None:
        self.path = folder / (f"ledger-{shard}.jsonl" if shard else _NAME)
        with contextlib.ExitStack() as held:
            # Without a buffer: what failed to be written must not be written later.
            self._file = held.enter_context(self.path.open("a+b", buffering=0))
            _lock(self.path, self._file, fcntl.LOCK_EX)
            if shard:
                # Shards work beside each other, but not beside a run of everything, nor of other parts.
                whole = folder / _NAME
                _lock(whole, held.enter_context(whole.open("a+b")), fcntl.LOCK_SH)
                for other in _ledgers(folder):
                    if _count(other) not in (None, _count(self.path)):
                        with other.open("rb") as file:
                            _lock(other, file, fcntl.LOCK_SH)
            _cut_torn_line(self.path)
            sync(folder)
            self._held = held.pop_all()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def append(self, record: Mapping[str, Any]) -> int:
        """Write a record; when this returns, it is on the disk.

        Returns:
            Where its line begins, in bytes.

        Raises:
            OSError: the disk is full or broken; the line is cut off again if that is possible. Or the
                file has been moved or removed: nobody would find the line.
        """
        if not self._is_in_place():
            raise FileNotFoundError(errno.ENOENT, "moved or removed during the run", str(self.path))
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        before = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(before)
            raise
        return before

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False


def records(folder: Path) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """All records of a catalogue, shard after shard, each in the order of writing.

    A line that is only half there yet is left out.

    Yields:
        Path of the ledger, where in it the record's line begins, in bytes, and the record.

    Raises:
        InvalidArgument: a line in the middle is not a record: somebody else wrote there.
    """
    for path in _ledgers(folder):
        offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if not isinstance(record, dict) or not record.keys() >= {"kind", "sku", "key"}:
                    raise expected(f"{path}, line {number}", "something else", "a record of ours")
                yield path, offset, record
                offset += len(line)


def _ledgers(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("ledger*.jsonl") if _OURS.fullmatch(path.name))


def _count(path: Path) -> str | None:
    """Of how many shards a ledger is one's; None: of a run of everything."""
    ours = _OURS.fullmatch(path.name)
    return ours and ours["count"]


def _lock(path: Path, file: IO[bytes], how: int) -> None:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PackshotError(f"{path}: another run is at work on it; wait for its end") from None


def _cut_torn_line(path: Path) -> None:
    """Cut off what follows the last complete line."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        whole = size
        while whole:
            start = max(0, whole - 4096)
            file.seek(start)
            block = file.read(whole - start)
            cut = block.rfind(b"\n")
            if cut >= 0:
                whole = start + cut + 1
                break
            whole = start
        if whole != size:
            file.truncate(whole)
            os.fsync(file.fileno())
