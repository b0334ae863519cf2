"""The server of a call: the one that is named, or one started for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from packshot.cli.extensions import embedded_server
from packshot.cli.reporting import Report
from packshot.options import Options
from packshot.sync import Studio

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        envvar="PACKSHOT_SERVER",
        help="gRPC service of a running server; without it one is started for this call.",
    ),
]
Repository = Annotated[
    Path,
    typer.Option(
        "--repository",
        metavar="DIR",
        envvar="PACKSHOT_REPOSITORY",
        help="Model repository of the server that is started.",
    ),
]
TimeoutS = Annotated[
    float, typer.Option("--timeout-s", help="Seconds for each request to the server, retries included.")
]
DEFAULT_REPOSITORY = Path("model_repository")
DEFAULT_TIMEOUT_S = Options().timeout_s


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to find a server, and how long to wait for it."""

    server: str | None
    repository: Path
    timeout_s: float

    @contextmanager
    def open(self, report: Report) -> Iterator[Studio]:
        """A studio; a server that was started for it is stopped again."""
        options = Options(timeout_s=self.timeout_s)
        if self.server is not None:
            with Studio(self.server, options) as studio:
                yield studio
            return
        began = time.perf_counter()
        with ExitStack() as stack:
            with report.stage("starting a server"):
                # Once it is to end, this call has its answers, and nobody else has any.
                running = stack.enter_context(embedded_server()(self.repository, drain=False))
            report.timings_s["server_start"] = time.perf_counter() - began
            yield stack.enter_context(Studio(running.grpc_address, options))
