"""``packshot export``."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packshot.family import Precision

if TYPE_CHECKING:
    from rich.console import Console

    from packshot_export.export import Exported, Planned


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
        Precision, typer.Option(help="Of the weights and of the arithmetic inside the graphs.")
    ] = "fp32",
    name: Annotated[
        str | None, typer.Option(help="Name of the family; else the diffusion checkpoint's.")
    ] = None,
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build TensorRT plans, too.")] = False,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="sm_NN",
            help="Compute capability to build plans for; may be given several times. "
            "Else that of this machine's GPU. Only tensorrt_rtx builds for others.",
        ),
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Plans that later minor versions of TensorRT load.")
    ] = False,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File of TensorRT's timings, to read and to add to.")
    ] = None,
) -> None:
    """Turn checkpoints into a complete model repository, proven against the originals."""
    from rich.console import Console

    from packshot_export.plans import PlanSettings

    if not tensorrt and (gpu or version_compatible or timing_cache):
        raise typer.BadParameter("--gpu, --version-compatible and --timing-cache go with --tensorrt")
    settings = PlanSettings(tuple(gpu or ()), version_compatible, timing_cache) if tensorrt else None
    console = Console(stderr=True, highlight=False)
    console.print("packshot: reading checkpoints")
    from packshot_export.export import export_repository

    with _terminated_as_by_an_exception():
        manifest = export_repository(
            diffusion,
            controlnet,
            sam,
            repository,
            precision,
            progress=lambda event: _print(console, event),
            name=name,
            tensorrt=settings,
        )
    if "tensorrt_rtx" in manifest.exporters:
        text = (
            "packshot: of the plans of tensorrt_rtx only the denoiser's can be served, on such a GPU; "
            "Triton loads the other models' ONNX graphs"
        )
        console.print(text, soft_wrap=True)
    console.print(f"packshot: {repository} serves {manifest.family.name} in {manifest.family.precision}")


@contextlib.contextmanager
def _terminated_as_by_an_exception() -> Iterator[None]:
    """So that what is half done, gigabytes of it, is removed."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(console: Console, event: str | Exported | Planned) -> None:
    from packshot_export.export import Planned

    if isinstance(event, Planned):
        console.print(f"  {event.file}: {event.seconds:.1f} s, {event.size_bytes / 2**20:.1f} MiB")
        return
    if isinstance(event, str):
        if console.is_terminal:  # a pipe gets one line for each artifact
            console.print(f"  {event} …", end="\r")
        return
    parity = ", ".join(f"{d.tensor} {d.greatest:.1e} (≤ {d.tolerance:.0e})" for d in event.differences)
    room = f", numbers to {event.headroom.greatest:.3g} in fp16" if event.headroom else ""
    console.print(f"  {event.name}: {event.seconds:.1f} s, off by {parity}{room}", soft_wrap=True)
