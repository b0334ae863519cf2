"""``packshot cutout``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from packshot.checks import integer
from packshot.cli import connection
from packshot.cli.arguments import BackgroundOptions, BoxOptions, PointOptions, prompt_arguments
from packshot.cli.output import check_output, make_folder
from packshot.cli.reporting import AsJson, Report
from packshot.contract import IOU_PREDICTIONS
from packshot.errors import expected
from packshot.photo import load_photo
from packshot.sam_prompts import check_prompt

#: How many masks SAM makes of one prompt.
NUM_MASKS = int(IOU_PREDICTIONS.dims[0])


def cutout(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="Photo of the product.")],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="PNG to write; an existing one is replaced.")
    ],
    point: PointOptions = None,
    background_point: BackgroundOptions = None,
    box: BoxOptions = None,
    rank: Annotated[
        int, typer.Option("--rank", help="Which of SAM's masks to take: 0 the best, 1 the next, 2.")
    ] = 0,
    server: connection.Server = None,
    repository: connection.Repository = connection.DEFAULT_REPOSITORY,
    timeout_s: connection.TimeoutS = connection.DEFAULT_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Cut a product out of its photo: a PNG with transparency, at the photo's own resolution."""
    integer("--rank", rank, 0, NUM_MASKS - 1)
    prompt = prompt_arguments(point, background_point, box)
    if output.suffix.lower() != ".png":
        raise expected("--output", str(output), "a name that ends in .png")
    loaded = load_photo(photo)
    check_prompt(loaded.size, **prompt)
    check_output(output, output.parent)
    report = Report(as_json)
    with connection.Connection(server, repository, timeout_s).open(report) as studio:
        began = time.perf_counter()
        with report.stage("cutting out"):
            best = studio.cut_out(loaded, **prompt)
        report.timings_s["cut_out"] = time.perf_counter() - began
    ranked = (best, *best.alternatives)
    # A mask without a pixel is none, so there may be fewer.
    chosen = ranked[integer("--rank", rank, 0, len(ranked) - 1)]
    make_folder(output, output.parent)
    chosen.save(output)
    document = {"path": str(output), "rank": rank, "iou": chosen.iou, "box": chosen.box, "prompt": prompt}
    report.finish([output], document)
