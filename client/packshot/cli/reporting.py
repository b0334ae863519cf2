"""What the command line tells: progress to people, paths or JSON to programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from packshot.progress import OnStep, StepProgress

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document to standard output instead of paths.")
]


class Report:
    """Progress on standard error if that is a terminal; the outcome on standard output.

    Attributes:
        timings_s: seconds by stage, filled in as the call goes on.
    """

    def __init__(self, as_json: bool) -> None:
        self.timings_s: dict[str, float] = {}
        self._as_json = as_json
        self._console = Console(stderr=True, quiet=not sys.stderr.isatty())

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Show that something is under way."""
        with self._console.status(f"{what} …"):
            yield

    @contextmanager
    def pictures(self, total: int) -> Iterator[OnStep]:
        """Show how far the pictures are; yields what to call with each report of the server."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        shares: dict[int, float] = {}
        places: dict[int, int] = {}
        # A quiet console draws nothing, but its drawing thread would run all the same.
        with Progress(*columns, console=self._console, disable=self._console.quiet) as progress:
            what = "picture" if total == 1 else f"{total} pictures"
            task = progress.add_task(what, total=total)

            def show(report: StepProgress) -> None:
                if report.num_steps:
                    shares[report.seed] = report.step / report.num_steps
                places[report.seed] = report.queue_position
                # Only while none is in work: then there is nothing else to see.
                waiting = f", place {min(places.values())} in the queue" if min(places.values()) else ""
                progress.update(task, completed=sum(shares.values()), description=what + waiting)

            yield show
            progress.update(task, completed=total)

    def finish(self, paths: list[Path], document: dict[str, Any]) -> None:
        """Print the outcome: paths, one a line, or the document with the timings."""
        if self._as_json:
            rounded = {stage: round(seconds, 4) for stage, seconds in self.timings_s.items()}
            typer.echo(json.dumps({**document, "timings_s": rounded}, ensure_ascii=False, indent=2))
        else:
            for path in paths:
                typer.echo(str(path))
