"""From a cut-out to finished pictures: composed, painted or put on a plain background, pasted, measured."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from packshot.canvas import Composition, compose
from packshot.catalog.enlarging import Enlargement
from packshot.catalog.gate import Measures, measure
from packshot.catalog.layout import aspect_ratio, canvas_of
from packshot.catalog.shadows import soft_shadow
from packshot.catalog.styles import Style
from packshot.cutout import Cutout, bounding_box
from packshot.errors import InvalidArgument
from packshot.family import Family
from packshot.parameters import CATALOGUE
from packshot.paste import paste_back
from packshot.shot import Shot
from packshot.studio import AsyncStudio

#: Of the product's sides: the room that SAM is given on every side of it.
_ROOM = 0.1


@dataclass(frozen=True, slots=True)
class Layers:
    """A product on its canvas, twice: as it is painted and as it is delivered.

    Attributes:
        painted: at the size of the canvas.
        delivered: at the size of the finished picture; the same object if that is the canvas.
    """

    painted: Composition
    delivered: Composition


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture.

    Attributes:
        image: uint8 [H, W, 3], of the size that is delivered.
        measures: of the gate.
        parameters: of the painting, by name; none for a plain background.
        timings_s: seconds by stage.
        num_truncated_tokens: of the prompt and the negative prompt, what did not fit and was not read.
    """

    image: np.ndarray
    measures: Measures
    parameters: dict[str, Any]
    timings_s: dict[str, float]
    num_truncated_tokens: tuple[int, int] = (0, 0)


def canvas_for(style: Style, family: Family) -> tuple[int, int]:
    """Width and height of what is painted, or of the plain background.

    Raises:
        InvalidArgument: the family does not serve it.
    """
    size = style.output_size
    if style.background is not None and size:
        return size
    ratio = size[0] / size[1] if size else aspect_ratio(style.aspect_ratio)
    canvas = style.canvas or canvas_of(ratio, family.canvas)
    if style.background is None:
        family.canvas.check(*canvas)
    return canvas


def layers(cutout: Cutout, style: Style, canvas: tuple[int, int]) -> Layers:
    """Put the product on its canvas.

    Raises:
        InvalidArgument: the product cannot be placed there.
    """
    size = style.output_size
    if size is None or size == canvas:
        painted = compose(style.layout.place(cutout, canvas), canvas)
        return Layers(painted, painted)
    enlargement = Enlargement(canvas, size)
    placement = enlargement.place(style.layout, cutout)
    return Layers(compose(placement, canvas), compose(enlargement.over(placement), size))


async def paint(
    studio: AsyncStudio, placed: Layers, style: Style, seed: int, mask_iou: float | None
) -> Picture:
    """One picture of a placed product.

    Args:
        studio: the server.
        placed: the product on its canvas.
        style: how it shall look; its templates filled in.
        seed: of the noise.
        mask_iou: SAM's predicted IoU of the cut-out.

    Raises:
        InvalidArgument, Unavailable, DeadlineExceeded, InternalError: see :mod:`packshot.errors`.
    """
    if style.background is not None:
        return await asyncio.to_thread(_on_plain, placed.delivered, style, mask_iou)
    shots = await studio.shoot(
        placed.painted,
        placed.painted.size,
        style.prompt or "",
        style.negative_prompt,
        seed=seed,
        priority=CATALOGUE,
        **style.parameters,
    )
    shot = shots[0]
    asked = time.perf_counter()
    found = await _found(studio, shot.image, placed.painted)
    timings_s = {**shot.timings_s, "segment_result": time.perf_counter() - asked}
    return await asyncio.to_thread(_finished, shot, placed, found, mask_iou, timings_s)


async def _found(studio: AsyncStudio, image: np.ndarray, composition: Composition) -> np.ndarray | None:
    """What SAM takes for the product in a picture, bool [H, W]; None if it finds nothing.

    It is asked with a box with some room round where the product is, for the scene to have grown into.
    """
    width, height = composition.size
    x0, y0, x1, y1 = bounding_box(composition.alpha > 0)
    dx, dy = (x1 - x0) * _ROOM, (y1 - y0) * _ROOM
    box = (max(0.0, x0 - dx), max(0.0, y0 - dy), min(float(width), x1 + dx), min(float(height), y1 + dy))
    try:
        return (await studio.cut_out(image, boxes=[box])).mask
    except InvalidArgument:
        # Nothing but an answer without a pixel: the picture and the box are right.
        return None


def _finished(
    shot: Shot,
    placed: Layers,
    found: np.ndarray | None,
    mask_iou: float | None,
    timings_s: dict[str, float],
) -> Picture:
    began, image = time.perf_counter(), shot.image
    measures = measure(image, placed.painted, found, mask_iou)
    timings_s["gate"] = time.perf_counter() - began
    if placed.delivered is not placed.painted:
        # The product comes from its photo, at full sharpness.
        scene = Enlargement(placed.painted.size, placed.delivered.size).picture(image)
        image = paste_back(placed.delivered, scene)
    return Picture(image, measures, shot.parameters.as_dict(), timings_s, shot.num_truncated_tokens)


def _on_plain(composition: Composition, style: Style, mask_iou: float | None) -> Picture:
    began = time.perf_counter()
    background = np.full_like(composition.image, style.background)
    if style.shadow == "soft":
        background = soft_shadow(background, composition.alpha)
    image = paste_back(composition, background)
    measures = measure(image, composition, None, mask_iou)
    return Picture(image, measures, {}, {"compose": time.perf_counter() - began})
