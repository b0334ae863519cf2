"""How far a catalogue is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between lines of a log.
_EVERY_S = 15.0


class CatalogProgress:
    """Told of every item; shows rate, time left and failures by reason on standard error.

    Attributes:
        counts: items by status; failed ones by the error's code.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._live = sys.stderr.isatty()
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[told]}"),
        )  # fmt: skip
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not self._live)
        self._task = self._progress.add_task("", total=None, rate="", told="")
        self._items = self._fresh = 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> CatalogProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, what: str) -> None:
        """Name what is under way."""
        self._progress.update(self._task, description=what)
        if not self._live:
            tell(what)

    @property
    def untold(self) -> int:
        """Items that nothing was told of: their lines or photos are not what they were."""
        return max(0, self._items - self.counts.total())

    def begin(self, items: int) -> None:
        """The work begins.

        Args:
            items: to be told of.
        """
        self._items, self._began = items, time.monotonic()
        self._progress.update(self._task, description="products", total=items)

    def show(self, record: dict[str, Any], fresh: bool) -> None:
        """An item is done, or was found to be."""
        self.counts[record.get("status") or record["code"]] += 1
        self._fresh += fresh
        now = time.monotonic()
        rate = f"{60 * self._fresh / max(1e-3, now - self._began):.1f}/min"
        told = ", ".join(f"{count} {status.lower()}" for status, count in sorted(self.counts.items()))
        self._progress.update(self._task, advance=1, rate=rate, told=told)
        done = self.counts.total()
        if not self._live and (now - self._said >= _EVERY_S or done == self._items):
            self._said = now
            eta = ""  # what was found to be done says nothing about how long the rest takes
            if self._fresh:
                left_s = (self._items - done) * (now - self._began) / self._fresh
                eta = f"  ETA {left_s / 60:.1f} min"
            tell(f"{done}/{self._items}  {rate}{eta}  {told}")


def tell(line: str) -> None:
    """A line on standard error. Whoever read it may be gone; the work does not end with that."""
    with contextlib.suppress(BrokenPipeError):
        typer.echo(f"packshot: {line}", err=True)
