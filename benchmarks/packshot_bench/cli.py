"""``packshot bench``: run, plot, compare."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from packshot.errors import expected
from packshot_bench.compare import table
from packshot_bench.context import Context
from packshot_bench.environment import environment
from packshot_bench.probe import Probe
from packshot_bench.results import Report, Row
from packshot_bench.scenarios import FULL, QUICK, Scenario

#: The subject of a row that says why a scenario broke off.
_WHOLE = "the scenario"

bench = typer.Typer(
    help="Measure packshot, and what one would use instead.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@bench.command("run")
def run_command(
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="JSON to write.")],
    repository: Annotated[Path, typer.Option(metavar="DIR", help="Model repository to serve.")] = Path(
        "model_repository"
    ),
    checkpoints: Annotated[
        Path, typer.Option(metavar="DIR", help="What it was exported from: diffusion, controlnet, sam.")
    ] = Path("pocket/weights"),
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help=f"One of {', '.join(FULL)}; all if left out.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Samples of each case.")] = 10,
    full: Annotated[bool, typer.Option("--full", help="More subjects, cases and requests.")] = False,
) -> None:
    """Run scenarios; the file is written anew after each row, so that a run cut short leaves what it has.

    The exit status is 1 if a scenario broke off; the others have run then, too.
    """
    chosen = FULL if full else QUICK
    known = {**FULL, **chosen}
    names = scenario or list(chosen)
    for name in names:
        if name not in known:
            raise expected("--scenario", repr(name), f"one of {', '.join(known)}")
    context = Context(repository, checkpoints, repeats, lambda line: typer.echo(line, err=True), Probe())
    rows: list[Row] = []
    about, began = environment(repository), time.monotonic()
    for name in names:
        for row in _rows(known[name], context):
            rows.append(row)
            summary = row.summary
            told = f"{summary.median:.4f} s ± {summary.spread:.1%}" if summary else f"failed: {row.error}"
            typer.echo(f"{row.scenario}  {row.subject}  {dict(row.case)}  {told}")
            Report({**about, "took_s": round(time.monotonic() - began)}, tuple(rows)).write(output)
    if any(row.subject == _WHOLE for row in rows):
        raise typer.Exit(1)


def _rows(scenario: Scenario, context: Context) -> Iterator[Row]:
    """A scenario's rows; if it breaks off, those until then and one that says why."""
    try:
        yield from scenario.run(context)
    except Exception as error:
        logging.getLogger(__name__).exception("%s", scenario.name)
        yield Row(scenario.name, _WHOLE, {}, error=f"{type(error).__name__}: {error}")


@bench.command("plot")
def plot_command(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder for the pictures.")],
) -> None:
    """Draw latencies, stages, load and throughput of a run, as PNG and SVG."""
    from packshot_bench.plots import plot

    for path in plot(Report.read(report), output):
        typer.echo(path)


@bench.command("compare")
def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A.json")],
    second: Annotated[Path, typer.Argument(metavar="B.json")],
) -> None:
    """Ratios of B over A, each with what chance alone would make of it."""
    typer.echo(table(Report.read(first), Report.read(second)))
