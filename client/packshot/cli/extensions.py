"""What the extras add: the server and the exporter register themselves, we never import them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

from packshot.errors import PackshotError

COMMANDS = "packshot.commands"
EMBEDDED_SERVER = "packshot.embedded_server"

#: Our own packages: one of their modules missing is a fault, not an extra that was left out.
_OURS = ("packshot", "packshot_serving", "packshot_export", "packshot_bench")


class ExtensibleGroup(TyperGroup):
    """The subcommands, with those that the extras register; loaded only when one is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all subcommands."""
        return [*super().list_commands(ctx), *sorted(entry_points(group=COMMANDS).names)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A subcommand; one whose extra is missing tells how to get it."""
        found = super().get_command(ctx, cmd_name)
        registered = entry_points(group=COMMANDS, name=cmd_name)
        if found is not None or not registered:
            return found
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        try:
            command = _load(next(iter(registered)), cmd_name)
        except PackshotError as error:
            settings = {"ignore_unknown_options": True, "allow_extra_args": True}
            app.command(cmd_name, help=str(error), context_settings=settings)(_raising(error))
        else:
            if isinstance(command, typer.Typer):  # a command with subcommands of its own
                return typer.main.get_command(command)
            app.command(cmd_name)(_explained(command, cmd_name))
        return typer.main.get_command(app)


def embedded_server() -> Callable[..., Any]:
    """The class that runs a server for one call: a context manager with a ``grpc_address``.

    It takes a repository, and ``drain``: whether its end waits for what other callers have begun.

    Raises:
        PackshotError: the extra ``serve`` is not installed.
    """
    for entry_point in entry_points(group=EMBEDDED_SERVER):
        return _explained(_load(entry_point, "serve"), "serve")
    raise _missing("serve", "packshot_serving")


def _load(entry_point: EntryPoint, extra: str) -> Callable[..., Any]:
    return _explained(entry_point.load, extra)()


def _explained(call: Callable[..., Any], extra: str) -> Callable[..., Any]:
    """The same call; a module that the extra would have brought is reported as such."""

    @functools.wraps(call)
    def explained(*arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in _OURS:
                raise
            raise _missing(extra, error.name) from error

    return explained


def _raising(error: PackshotError) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def _missing(extra: str, module: str | None) -> PackshotError:
    return PackshotError(f"{extra} needs {module}, which is not installed: pip install 'packshot[{extra}]'")
