"""A catalogue in its folder: begun, gone on with, looked at."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from packshot.catalog import ray_engine
from packshot.catalog.delivery import forget_partial, write_json
from packshot.catalog.items import Problem, Reader
from packshot.catalog.ledger import Ledger
from packshot.catalog.plan import Shard, items_of
from packshot.catalog.reports import write_reports
from packshot.catalog.runner import Books, OnItem, Runner, Settings
from packshot.catalog.state import State
from packshot.catalog.styles import Style, load_styles
from packshot.errors import PackshotError, expected

Engine = Literal["local", "ray"]
_JOB_FILE = "catalog.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What a catalogue's folder was begun with; ``retry`` and ``status`` read it there.

    Attributes:
        manifest: absolute path.
        styles: absolute path of the styles' file; None if the lines say everything themselves.
        keep_best: pictures of an item that are delivered; None for all that pass the gate.
        skip_invalid: whether lines with mistakes are left out.
    """

    manifest: str
    styles: str | None
    keep_best: int | None
    skip_invalid: bool

    def reader(self) -> Reader:
        """Of the manifest.

        Raises:
            InvalidArgument: the styles cannot be read.
        """
        styles: dict[str, Style] = load_styles(Path(self.styles)) if self.styles else {}
        return Reader(Path(self.manifest), styles)

    def write(self, folder: Path) -> None:
        """Write it into a catalogue's folder."""
        write_json(folder / _JOB_FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job of a folder.

        Raises:
            InvalidArgument: it is no catalogue's.
        """
        try:
            return cls(**json.loads((folder / _JOB_FILE).read_text()))
        except (OSError, ValueError, TypeError):
            raise expected("DIR", str(folder), "the output folder of `packshot catalog run`") from None


@dataclass(frozen=True, slots=True)
class How:
    """How a run goes about it; another run of the same job may do it otherwise.

    Attributes:
        shard: which part of the manifest is this run's.
        max_in_flight: items at a time.
        engine: ``local``, or ``ray`` for a cluster.
        retry: try what failed again, and nothing else.
        timeout_s: seconds for a request.
    """

    shard: Shard
    max_in_flight: int
    engine: Engine
    retry: bool
    timeout_s: float


def run(
    job: Job,
    folder: Path,
    servers: Sequence[str],
    how: How,
    on_item: OnItem,
    on_problem: Callable[[Problem], None],
    problems: Sequence[Problem] = (),
) -> dict[str, Any]:
    """Work off a checked manifest.

    Args:
        job: what is asked for.
        folder: of the catalogue; it exists.
        servers: ``host:port`` of each.
        how: to go about it.
        on_item: told of every item.
        on_problem: told of mistakes that were not there when the manifest was checked.
        problems: the manifest's mistakes that are left out, for the reports.

    Returns:
        The summary, see :func:`packshot.catalog.reports.write_reports`.

    Raises:
        PackshotError: the run ended early; what was done is kept. Reports are written all the same.
    """
    left_out, known = [*problems], {(problem.line, problem.message) for problem in problems}

    def tell(problem: Problem) -> None:
        if (problem.line, problem.message) not in known:
            left_out.append(problem)
            on_problem(problem)

    settings = Settings(folder, tuple(servers), how.max_in_flight, job.keep_best, how.retry, how.timeout_s)
    try:
        with Ledger(folder, how.shard.name) as ledger:
            job.write(folder)  # not before: a run that is refused may not change what another one goes by
            forget_partial(folder, how.shard.count > 1)
            books = Books(settings, ledger, State(folder), on_item)
            items = items_of(job.reader(), how.shard, tell)
            try:
                if how.engine == "ray":
                    ray_engine.run(settings, books, items)
                else:
                    asyncio.run(Runner(settings, books).run(items))
            except BaseException:
                # On a full disk they cannot be written either; what filled it is to be told, not that.
                with contextlib.suppress(OSError):
                    write_reports(folder, State(folder), how.shard, left_out)
                raise
            return write_reports(folder, State(folder), how.shard, left_out)
    except PackshotError:  # a DeadlineExceeded is an OSError, too
        raise
    except OSError as error:
        raise _disk_error(error) from error


def _disk_error(error: OSError) -> PackshotError:
    """What the operator is told when a file cannot be written."""
    why = error.strerror or str(error)
    hint = "; make room, and run the same command again" if error.errno == errno.ENOSPC else ""
    return PackshotError(f"{error.filename or 'output'}: {why}{hint}")
