"""Arguments that are more than one value."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

import typer

from packshot.errors import expected
from packshot.sam_prompts import SamArguments

PointOptions = Annotated[
    list[str] | None,
    typer.Option("--point", metavar="X,Y", help="A point on the product, in pixels; may be repeated."),
]
BackgroundOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--background-point", metavar="X,Y", help="A point that is not on the product; may be repeated."
    ),
]
BoxOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X0,Y0,X1,Y1",
        help="A box around the product, in pixels; several are the product's parts.",
    ),
]


class PlacementFields(TypedDict, total=False):
    """The fields of a Placement besides the cut-out."""

    x: float
    y: float
    scale: float | None
    rotation_degree: float


def numbers(what: str, text: str, form: str) -> list[float]:
    """``"1,2"`` as numbers, as many as the form ``"X,Y"`` has.

    Raises:
        InvalidArgument: another count, or something that is not a number.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != form.count(",") + 1:
        raise expected(what, repr(text), f"{form} in pixels")
    return values


def prompt_arguments(
    points: list[str] | None, background_points: list[str] | None, boxes: list[str] | None
) -> SamArguments:
    """What the options say, as ``Studio.cut_out`` takes it."""
    on = [numbers("--point", point, "X,Y") for point in points or []]
    off = [numbers("--background-point", point, "X,Y") for point in background_points or []]
    return {
        "points": on + off,
        "labels": [1] * len(on) + [0] * len(off),
        "boxes": [numbers("--box", box, "X0,Y0,X1,Y1") for box in boxes or []],
    }


def canvas_size(text: str) -> tuple[int, int]:
    """``"512x768"`` as width and height.

    Raises:
        InvalidArgument: it is not of that form.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise expected("--canvas", repr(text), "WxH, such as 512x768")
    return int(width), int(height)


def placement_fields(text: str) -> PlacementFields:
    """``"x=.5,y=.6,scale=.5,rotation_degree=0"`` as fields of a Placement; keys may be left out.

    ``scale=native`` keeps the photo's own pixels.

    Raises:
        InvalidArgument: an unknown key, one given twice, or a value that is not a number.
    """
    form = "x=…,y=…,scale=…,rotation_degree=…, each a number and each at most once"
    values: dict[str, float | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (side.strip() for side in part.partition("="))
        if key not in PlacementFields.__annotations__ or key in values:
            raise expected("--place", repr(text), form)
        try:
            values[key] = None if (key, value) == ("scale", "native") else float(value)
        except ValueError:
            raise expected("--place", repr(text), form) from None
    return cast(PlacementFields, values)
