"""``packshot export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from packshot_export.export import Exported


class _Precision(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"


def export(
    diffusion: Annotated[
        str,
        typer.Option(
            metavar="ID_OR_DIR", help="Stable Diffusion inpainting pipeline: directory or hub id[@revision]."
        ),
    ],
    controlnet: Annotated[
        list[str],
        typer.Option(metavar="ID_OR_DIR", help="ControlNet of that pipeline; may be given several times."),
    ],
    sam: Annotated[
        str, typer.Option(metavar="ID_OR_DIR", help="Segment Anything checkpoint of transformers.")
    ],
    repository: Annotated[Path, typer.Option(help="Model repository to make or to replace.")],
    precision: Annotated[
        _Precision, typer.Option(help="Of the weights and of the arithmetic inside the graphs.")
    ] = _Precision.fp32,
    name: Annotated[
        str | None, typer.Option(help="Name of the family; else the diffusion checkpoint's.")
    ] = None,
) -> None:
    """Turn checkpoints into a complete model repository, proven against the originals."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print("packshot: reading checkpoints")
    from packshot_export.export import export_repository

    manifest = export_repository(
        diffusion,
        controlnet,
        sam,
        repository,
        precision.value,
        progress=lambda event: _print(console, event),
        name=name,
    )
    console.print(f"packshot: {repository} serves {manifest.family.name} in {manifest.family.precision}")


def _print(console: Console, event: str | Exported) -> None:
    if isinstance(event, str):
        if console.is_terminal:  # a pipe gets one line for each artifact
            console.print(f"  {event} …", end="\r")
        return
    parity = ", ".join(f"{d.tensor} {d.greatest:.1e} (≤ {d.tolerance:.0e})" for d in event.differences)
    console.print(f"  {event.name}: {event.seconds:.1f} s, off by {parity}", soft_wrap=True)
