"""``packshot serve``."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer


def serve(
    repository: Annotated[
        Path, typer.Option(envvar="PACKSHOT_REPOSITORY", help="Model repository to serve.")
    ] = Path("model_repository"),
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gRPC service.")] = 8001,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP service.")] = 8000,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Prometheus metrics.")
    ] = 8002,
    bind: Annotated[
        str, typer.Option(help="IPv4 address to listen on; 0.0.0.0 for every network.")
    ] = "127.0.0.1",
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option(
            envvar="PACKSHOT_DEVICE", help="Where the models compute; left out, where their configs say."
        ),
    ] = None,
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16",
            help="Compute the steps in bfloat16: faster on processors that know it, pictures differ a "
            "little. Needs packshot[bf16].",
        ),
    ] = False,
) -> None:
    """Serve a model repository with tritonserver until Ctrl-C or SIGTERM."""
    from packshot.errors import InternalError
    from packshot_serving.launcher import TritonServer

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    server = TritonServer(
        repository,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        bind=bind,
        device=device,
        bf16=bf16,
    )
    typer.echo(f"packshot: starting tritonserver on {server.repository}", err=True)
    with server:
        typer.echo(
            f"packshot: ready. gRPC {server.grpc_address}, HTTP {server.http_address}, "
            f"metrics {server.metrics_address}, log {server.log}",
            err=True,
        )
        try:
            status = server.wait()
        except KeyboardInterrupt:
            typer.echo("packshot: stopping; what the models have begun is ended first", err=True)
            return
        raise InternalError(f"tritonserver ended by itself: {server.failure(status)}")
