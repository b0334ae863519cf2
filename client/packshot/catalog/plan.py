"""What a run is asked for, and what it finds to be done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packshot.catalog.items import Item, Problem, Reader
from packshot.catalog.keys import keys_of
from packshot.catalog.settling import found, is_there
from packshot.catalog.state import TRANSIENT, State
from packshot.catalog.work import Task
from packshot.checks import integer
from packshot.errors import expected


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several runs that share a manifest.

    Attributes:
        index: from 0, as Kubernetes counts the pods of an indexed job.
        count: of the runs.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        count = integer("shard", self.count, 1)
        integer("shard", self.index, 0, count - 1)

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"2/8"``."""
        index, _, count = text.partition("/")
        if not (index.isascii() and index.isdigit() and count.isascii() and count.isdigit()):
            raise expected("--shard", repr(text), "I/N, such as 0/4")
        return cls(int(index), int(count))

    @property
    def name(self) -> str:
        """Of its ledger; empty for the only one."""
        return "" if self.count == 1 else f"{self.index}-of-{self.count}"

    def has(self, sku: str) -> bool:
        """Whether an item is this run's, wherever in the manifest it stands."""
        digest = hashlib.blake2b(sku.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index


@dataclass(slots=True)
class Checked:
    """A manifest that was read through.

    Attributes:
        items: of this shard that have no mistake.
        untouched: of them, those of which the catalogue knows nothing yet.
        problems: all mistakes, of all shards.
    """

    items: int
    untouched: int
    problems: list[Problem]

    @property
    def left_out(self) -> int:
        """Lines with mistakes."""
        return len({problem.line for problem in self.problems})

    def refuse(self) -> None:
        """Raise an error if there are mistakes; whoever asked has told them one by one.

        Raises:
            InvalidArgument: there is one.
        """
        if self.problems:
            count = f"{len(self.problems)} mistake{'s' if len(self.problems) > 1 else ''}"
            raise expected("manifest", count, "none, or --skip-invalid; nothing was started")


def check(reader: Reader, shard: Shard, state: State | None = None) -> Checked:
    """Read a manifest through.

    Args:
        state: of the catalogue; None before its first run.
    """
    checked = Checked(0, 0, [])
    for each in reader:
        if isinstance(each, Item):
            ours = shard.has(each.sku)
            checked.items += ours
            checked.untouched += ours and each.sku not in (state or ())
        else:
            checked.problems += each
    return checked


def items_of(reader: Reader, shard: Shard, on_problem: Callable[[Problem], None]) -> Iterator[Item]:
    """The items of a shard that have no mistake.

    Args:
        on_problem: told of mistakes that are the shard's as far as can be seen.
    """
    for each in reader:
        if isinstance(each, Item):
            if shard.has(each.sku):
                yield each
            continue
        for problem in each:
            if problem.sku is None or shard.has(problem.sku):
                on_problem(problem)


def task_of(
    item: Item, state: State, folder: Path, artifacts: str, keep_best: int | None, retry: bool
) -> Task | None:
    """What is to be done for an item; None if nothing is.

    Args:
        item: of the manifest.
        state: of the catalogue.
        folder: of the catalogue.
        artifacts: of the server, see :meth:`packshot.AsyncStudio.artifacts`.
        keep_best: how many pictures are delivered.
        retry: whether to try again what failed for good, and nothing else.
    """
    last = state.last(item.sku)
    failed = last is not None and last["kind"] == "error"
    if retry and not failed:
        return None
    keys = keys_of(item, artifacts, keep_best)
    if last is not None and last["key"] == keys.item and not retry:
        if failed and last["code"] not in TRANSIENT:
            return None
        if not failed and is_there(last, folder):
            return None
    known = {picture["key"]: picture for picture in (last or {}).get("pictures", [])}
    known |= state.pictures(item.sku)
    made = {key for key in keys.pictures if key in known and found(item, known[key], folder)}
    for key in state.pictures(item.sku).keys() & {*keys.pictures} - made:
        state.forget(item.sku, key)
    return Task(item, keys, made)
