"""``packshot bench``: run, plot, compare."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from packshot.errors import expected
from packshot_bench.compare import table
from packshot_bench.context import Context
from packshot_bench.environment import environment
from packshot_bench.probe import Probe
from packshot_bench.results import WHOLE, Report, Row
from packshot_bench.rounds import measured
from packshot_bench.scenarios import BY_NAME, FULL, QUICK, by_name

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
        list[str] | None,
        typer.Option(
            "--scenario", help=f"One of {', '.join(by_name(FULL + BY_NAME))}; all but the last if left out."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often it is measured, with a fresh start.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Shots of each round.")] = 2,
    full: Annotated[bool, typer.Option("--full", help="More subjects and cases.")] = False,
) -> None:
    """Run scenarios; the file is written anew after each row, so that a run cut short leaves what it has.

    The exit status is 1 if a scenario broke off; the others have run then, too.
    """
    chosen = FULL if full else QUICK
    known = by_name(FULL + BY_NAME) | by_name(chosen)
    for name in scenario or ():
        if name not in known:
            raise expected("--scenario", repr(name), f"one of {', '.join(known)}")
    if not (checkpoints / "diffusion").is_dir():
        raise expected("--checkpoints", f"{checkpoints}", "a folder with diffusion, controlnet and sam")
    if output.exists():
        Report.read(output)  # what is not a report is nothing to write over
    scenarios = [known[name] for name in dict.fromkeys(scenario)] if scenario else chosen
    context = Context(repository, checkpoints, repeats, lambda line: typer.echo(line, err=True), Probe())
    about, began = environment(repository), time.monotonic()
    rows: tuple[Row, ...] = ()
    try:
        Report({**about, "took_s": 0}, rows).write(output)  # before minutes are spent on what nobody can keep
    except OSError as error:
        raise expected("--output", f"{output} ({error.strerror})", "a file that can be written") from None
    for row, rows in measured(scenarios, context, rounds):
        summary = row.summary
        told = f"{summary.median:.4f} s ± {summary.spread:.1%}" if summary else f"failed: {row.error}"
        typer.echo(f"{row.scenario}  {row.subject}  {dict(row.case)}  {told}")
        Report({**about, "took_s": round(time.monotonic() - began)}, rows).write(output)
    if any(row.subject == WHOLE for row in rows):
        raise typer.Exit(1)


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
