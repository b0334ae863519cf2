"""The ``packshot`` command: its subcommands, and how errors end it."""

from __future__ import annotations

import signal
import sys
import warnings
from importlib.metadata import version
from types import FrameType
from typing import Annotated, TextIO

import typer

from packshot.cli.catalog import catalog
from packshot.cli.cutout import cutout
from packshot.cli.extensions import ExtensibleGroup
from packshot.cli.shoot import shoot
from packshot.errors import PackshotError

_HELP = """Product photos in, product shots out.

Without --server (or PACKSHOT_SERVER) a server is started for the one call, on --repository (or
PACKSHOT_REPOSITORY).


Exit status: 0 done; 1 anything unforeseen; 2 wrong arguments or input; 3 server overloaded or not
there; 4 time limit; 5 model repository incomplete or altered; 6 server did not start; 7 export
failed; 8 server failed; 10 a catalogue's run ended, but not everything was delivered; 130
interrupted, by Ctrl-C or SIGTERM."""


def build_app() -> typer.Typer:
    """The command line with everything that is installed."""
    app = typer.Typer(
        cls=ExtensibleGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=_HELP)(_packshot)
    app.command("cutout")(cutout)
    app.command("shoot")(shoot)
    app.add_typer(catalog, name="catalog")
    return app


def main() -> None:
    """Run the command line; ends the process with a status that tells what happened."""
    warnings.showwarning = _show_warning
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        build_app()(prog_name="packshot")
    except PackshotError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """SIGTERM as Ctrl-C: whatever was begun is cleaned up, an embedded server among it."""
    # Once: a second one would break off the cleaning up.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(version("packshot"))
        raise typer.Exit


def _packshot(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Options of the command itself."""


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _say(f"warning: {message}")


def _say(text: str) -> None:
    typer.echo(f"packshot: {' '.join(text.split())}", err=True)
