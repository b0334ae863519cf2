"""``packshot catalog``: run, status, retry, validate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from packshot.catalog.items import Problem
from packshot.catalog.job import Engine, How, Job, run
from packshot.catalog.plan import Checked, Shard, check
from packshot.catalog.settling import DELIVERED
from packshot.catalog.state import State
from packshot.checks import integer, number
from packshot.cli import connection
from packshot.cli.catalog_progress import CatalogProgress, tell
from packshot.cli.extensions import embedded_server
from packshot.cli.output import check_output, make_folder
from packshot.errors import expected

catalog = typer.Typer(
    help="Work off a manifest of products: JSONL, CSV or Parquet.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server", metavar="HOST:PORT", envvar="PACKSHOT_SERVER",
        help="gRPC service of a running server; several take turns. Without it one is started.",
    ),
]  # fmt: skip
Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="JSONL, CSV or Parquet.")]
Styles = Annotated[
    Path | None,
    typer.Option("--styles", metavar="FILE", help="YAML of styles; styles.yaml beside the manifest."),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of a run.")]
MaxInFlight = Annotated[int, typer.Option("--max-in-flight", help="Products in work at a time.")]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard", metavar="I/N", help="Only part I, from 0, of N: one for each pod of an indexed job."
    ),
]
EngineOption = Annotated[
    Engine, typer.Option("--engine", help="local, or ray for a cluster that shares the output folder.")
]
_MAX_IN_FLIGHT = 8
_MOST_IN_FLIGHT = 1024
#: What became of lines that have no item: wrong from the first, or since the run began.
_LEFT_OUT, _VANISHED = "lines left out", "lines with new mistakes"
#: What a retry leaves to the next run.
_UNTOUCHED = "not begun"
#: Exit status of a run that ended, with something not delivered.
NOT_ALL = 10


@catalog.command("run")
def run_command(
    manifest: Manifest,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where everything goes.")],
    styles: Styles = None,
    server: Servers = None,
    repository: connection.Repository = connection.DEFAULT_REPOSITORY,
    shard: ShardOption = "0/1",
    max_in_flight: MaxInFlight = _MAX_IN_FLIGHT,
    keep_best: Annotated[
        int | None,
        typer.Option("--keep-best", metavar="K", help="Deliver the K best of a product's pictures."),
    ] = None,
    engine: EngineOption = "local",
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave lines with mistakes out, instead of not starting.")
    ] = False,
    timeout_s: connection.TimeoutS = connection.DEFAULT_TIMEOUT_S,
) -> None:
    """Work off a manifest. Run again, it goes on where it was stopped: nothing is lost or done twice."""
    part = Shard.parse(shard)
    if keep_best is not None:
        integer("--keep-best", keep_best, 1)
    how = _how(part, max_in_flight, engine, False, timeout_s)
    job = _job(manifest, styles, keep_best, skip_invalid)
    check_output(output, output)
    with CatalogProgress() as progress:
        checked = _checked(progress, job, part)
        if not job.skip_invalid:
            checked.refuse()
        make_folder(output, output)
        _go(progress, job, output, server, repository, checked.items, how, checked.problems)
    _end(output, progress.counts + Counter({_LEFT_OUT: checked.left_out, _VANISHED: progress.untold}))


@catalog.command("retry")
def retry_command(
    folder: Folder,
    server: Servers = None,
    repository: connection.Repository = connection.DEFAULT_REPOSITORY,
    shard: ShardOption = "0/1",
    max_in_flight: MaxInFlight = _MAX_IN_FLIGHT,
    engine: EngineOption = "local",
    timeout_s: connection.TimeoutS = connection.DEFAULT_TIMEOUT_S,
) -> None:
    """Try again what failed, and nothing else; lines with mistakes are left out."""
    job, part = Job.read(folder), Shard.parse(shard)
    how = _how(part, max_in_flight, engine, True, timeout_s)
    state = State(folder)
    failed = sum(record["kind"] == "error" and part.has(record["sku"]) for record in state)
    with CatalogProgress() as progress:
        checked = _checked(progress, job, part, state)
        if failed:
            _go(progress, job, folder, server, repository, failed, how, checked.problems)
    records = [record for record in State(folder) if part.has(record["sku"])]
    counts = Counter(record.get("status") or record["code"] for record in records)
    _end(folder, counts + Counter({_LEFT_OUT: checked.left_out, _UNTOUCHED: checked.untouched}))


@catalog.command("status")
def status_command(folder: Folder) -> None:
    """What has become of a catalogue's products so far; it may be in work."""
    Job.read(folder)
    for status, count in sorted(State(folder).counts().items()):
        typer.echo(f"{status}\t{count}")


@catalog.command("validate")
def validate_command(manifest: Manifest, styles: Styles = None) -> None:
    """Find every mistake in a manifest; nothing is started."""
    job = _job(manifest, styles, None, False)
    with CatalogProgress() as progress:
        checked = _checked(progress, job, Shard())
        checked.refuse()
    typer.echo(f"{checked.items} products, no mistakes")


def _job(manifest: Path, styles: Path | None, keep_best: int | None, skip_invalid: bool) -> Job:
    beside = manifest.parent / "styles.yaml"
    if styles is None and beside.is_file():
        styles = beside
    if not manifest.is_file():
        raise expected("MANIFEST", f"{manifest}: no such file", "a manifest")
    try:
        str(manifest.absolute()).encode()  # records are UTF-8, and have the photos' paths
    except UnicodeEncodeError:
        raise expected("MANIFEST", ascii(str(manifest.absolute())), "a path in UTF-8") from None
    return Job(str(manifest.absolute()), str(styles.absolute()) if styles else None, keep_best, skip_invalid)


def _how(part: Shard, max_in_flight: int, engine: Engine, retry: bool, timeout_s: float) -> How:
    integer("--max-in-flight", max_in_flight, 1, _MOST_IN_FLIGHT)
    number("--timeout-s", timeout_s, 0, above=True)
    return How(part, max_in_flight, engine, retry, timeout_s)


def _checked(progress: CatalogProgress, job: Job, part: Shard, state: State | None = None) -> Checked:
    """The manifest read through, each of its mistakes told on a line of its own."""
    progress.say("checking the manifest")
    checked = check(job.reader(), part, state)
    for problem in checked.problems:
        _tell(problem)
    return checked


def _tell(problem: Problem) -> None:
    tell(" ".join(str(problem).split()))


def _go(
    progress: CatalogProgress,
    job: Job,
    folder: Path,
    servers: list[str] | None,
    repository: Path,
    items: int,
    how: How,
    problems: Sequence[Problem],
) -> None:
    with _servers(progress, servers, repository) as addresses:
        progress.begin(items)
        run(job, folder, addresses, how, progress.show, _tell, problems)


@contextmanager
def _servers(progress: CatalogProgress, servers: list[str] | None, repository: Path) -> Iterator[list[str]]:
    """The servers' addresses; one that was started for the run is stopped again."""
    if servers:
        yield servers
        return
    progress.say("starting a server")
    with embedded_server()(repository, drain=False) as running:
        yield [running.grpc_address]


def _end(folder: Path, counts: Mapping[str, int]) -> None:
    """Tell the outcome, and end with a status that says whether everything was delivered."""
    for what, count in sorted(counts.items()):
        typer.echo(f"{what}\t{count}")
    typer.echo(folder / "index.html")
    if set(counts) - {DELIVERED}:
        raise typer.Exit(NOT_ALL)
