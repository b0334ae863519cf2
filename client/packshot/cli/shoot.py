"""``packshot shoot``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from packshot.canvas import Placement
from packshot.cli import connection
from packshot.cli.arguments import (
    BackgroundOptions,
    BoxOptions,
    PointOptions,
    canvas_size,
    placement_fields,
    prompt_arguments,
)
from packshot.cli.output import check_output, make_folder
from packshot.cli.reporting import AsJson, Report
from packshot.cutout import Cutout
from packshot.errors import expected
from packshot.generation import check_settings, image_seeds, prompt_arrays
from packshot.parameters import (
    INTERACTIVE,
    MAX_CONTROLNET_SCALE,
    MAX_GUIDANCE_SCALE,
    MAX_INFERENCE_STEPS,
    SCHEDULERS,
    check_priority,
)
from packshot.photo import Photo, load_photo
from packshot.sam_prompts import SamArguments, check_prompt
from packshot.shot import Shot
from packshot.sync import Studio


def _option(text: str) -> Any:
    """An option of the painting; left out, it is what suits the server's family."""
    return typer.Option(help=text, show_default="what suits the family")


def shoot(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO_OR_CUTOUT", help="Cut-outs (images with transparency), or one photo."),
    ],
    prompt: Annotated[str, typer.Option("--prompt", help="The scene to paint.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", metavar="DIR", help="Where to write <name>-<seed>.png; existing ones are replaced."
        ),
    ],
    negative_prompt: Annotated[str, typer.Option(help="What the scene should not show.")] = "",
    point: PointOptions = None,
    background_point: BackgroundOptions = None,
    box: BoxOptions = None,
    canvas: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Size of the pictures in pixels.",
            show_default="the square that the family was trained on",
        ),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="Where a product stands, one for each file, from back to front: x and y of its centre "
            "in fractions of the canvas, scale relative to the largest that fits (or native: the "
            "photo's own pixels), rotation_degree. Default: x=.5,y=.6,scale=.5,rotation_degree=0.",
        ),
    ] = None,
    num_images: Annotated[int, typer.Option(help="How many pictures; each has the next seed.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed of the first picture; random if left out.")] = None,
    num_inference_steps: Annotated[
        int | None, _option(f"Denoising steps, 1 to {MAX_INFERENCE_STEPS}.")
    ] = None,
    guidance_scale: Annotated[
        float | None, _option(f"Weight of the prompt, 0 to {MAX_GUIDANCE_SCALE:g}.")
    ] = None,
    controlnet_conditioning_scale: Annotated[
        float | None, _option(f"Weight of the product's edges, 0 to {MAX_CONTROLNET_SCALE:g}.")
    ] = None,
    control_guidance_start: Annotated[
        float | None, _option("Share of the steps after which the edges count, 0 to 1.")
    ] = None,
    control_guidance_end: Annotated[
        float | None, _option("Share of the steps after which they no longer do.")
    ] = None,
    scheduler: Annotated[str | None, _option(f"One of {', '.join(SCHEDULERS)}.")] = None,
    guidance_end: Annotated[
        float | None, _option("Share of the steps after which --guidance-scale ends, 0 to 1; saves time.")
    ] = None,
    strength: Annotated[
        float | None,
        _option("How much to repaint, above 0, to 1; below 1 the canvas itself is the start."),
    ] = None,
    priority: Annotated[
        int, typer.Option(help="1, or 2 for catalogue work that lets others pass.")
    ] = INTERACTIVE,
    server: connection.Server = None,
    repository: connection.Repository = connection.DEFAULT_REPOSITORY,
    timeout_s: connection.TimeoutS = connection.DEFAULT_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Paint a scene around products; the products stay as they were photographed."""
    asked = {
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "controlnet_conditioning_scale": controlnet_conditioning_scale,
        "control_guidance_start": control_guidance_start,
        "control_guidance_end": control_guidance_end,
        "scheduler": scheduler,
        "guidance_end": guidance_end,
        "strength": strength,
    }
    parameters: Any = {name: value for name, value in asked.items() if value is not None}
    check_settings(parameters)
    check_priority(priority)
    seeds = image_seeds(seed, num_images)
    prompt_arrays(prompt, negative_prompt)
    asked_size = None if canvas is None else canvas_size(canvas)
    sam_prompt = prompt_arguments(point, background_point, box)
    loaded = [load_photo(photo) for photo in photos]
    _check_prompted(photos, loaded, sam_prompt)
    places = [placement_fields(text) for text in _places(place, len(photos))]
    check_output(output, output)
    report = Report(as_json)

    def path(shot: Shot) -> Path:
        return output / f"{photos[0].stem}-{shot.seed}.png"

    def save(_done: int, _total: int, shot: Shot) -> None:
        # At once: a picture that is painted stays, whatever becomes of the others.
        make_folder(output, output)
        shot.save(path(shot))

    with connection.Connection(server, repository, timeout_s).open(report) as studio:
        cutouts = _cut_out(studio, loaded, sam_prompt, report)
        placements = [Placement(cutout, **fields) for cutout, fields in zip(cutouts, places, strict=True)]
        began = time.perf_counter()
        side = studio.family().canvas.native_side
        size = asked_size or (side, side)
        with report.pictures(num_images) as show:
            shots = studio.shoot(
                placements, size, prompt, negative_prompt, num_images=len(seeds), seed=seeds[0],
                priority=priority, progress=save, on_step=show, **parameters,
            )  # fmt: skip
        report.timings_s["shoot"] = time.perf_counter() - began
    _tell(shots, path, report)


def _check_prompted(photos: list[Path], loaded: list[Photo], prompt: SamArguments) -> None:
    """A point or box must be meant for one photo, and every photo needs one."""
    prompted = any(prompt.values())
    need = {path: photo for path, photo in zip(photos, loaded, strict=True) if not photo.has_transparency}
    names = ", ".join(map(str, need))
    if len(need) > 1:
        got = f"{len(need)} photos without transparency ({names})"
        raise expected("PHOTO_OR_CUTOUT", got, "at most one; cut the others out with `packshot cutout`")
    if need and not prompted:
        raise expected(
            names, "a photo without transparency", "a --point or --box on its product, or a cut-out"
        )
    if prompted and not need:
        raise expected("--point or --box", "only cut-outs to apply them to", "one photo")
    for photo in need.values():
        check_prompt(photo.size, **prompt)


def _places(place: list[str] | None, count: int) -> list[str]:
    if not place and count == 1:
        return [""]
    if len(place or []) != count:
        raise expected("--place", f"{len(place or [])} for {count} files", "one for each file")
    return list(place or [])


def _cut_out(studio: Studio, loaded: list[Photo], prompt: SamArguments, report: Report) -> list[Cutout]:
    cutouts = []
    for photo in loaded:
        if photo.has_transparency:
            cutouts.append(Cutout.from_photo(photo))
            continue
        began = time.perf_counter()
        with report.stage("cutting out"):
            cutouts.append(studio.cut_out(photo, **prompt))
        report.timings_s["cut_out"] = time.perf_counter() - began
    return cutouts


def _tell(shots: list[Shot], path: Callable[[Shot], Path], report: Report) -> None:
    """The pictures, which are all written, in the order of their seeds."""
    documents = []
    for shot in shots:
        timings_s = {stage: round(seconds, 4) for stage, seconds in shot.timings_s.items()}
        documents.append({"path": str(path(shot)), **shot.made_by(), "timings_s": timings_s})
    report.finish([path(shot) for shot in shots], {"shots": documents})
