"""Where a product stands on its canvas, from a style's words."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from packshot.arrays import shown
from packshot.canvas import Placement
from packshot.checks import number
from packshot.cutout import Cutout
from packshot.errors import expected
from packshot.family import Canvas

HorizontalAlignment = Literal["left", "center", "right"]
VerticalAlignment = Literal["top", "center", "bottom"]
PlacementKind = Literal["fit", "original"]

_RATIO = re.compile(r"([1-9]\d{0,3}):([1-9]\d{0,3})")
_WIDEST = 4.0
#: How far a canvas of multiples of the family's unit may be from the shape that was asked for.
_MAX_BENT = 0.1
_SIDES = {"left": 0.0, "top": 0.0, "center": 0.5, "right": 1.0, "bottom": 1.0}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a product stands.

    Attributes:
        placement: ``fit``: as large as the padding allows; ``original``: where it is in its photo, the
            middle of which covers the canvas, moved as far as the product needs it to be seen whole.
        padding: free space on every side, in fractions of the canvas' shorter side, 0 to 0.45.
        fill: the share of the canvas that the product's bounding box fills, the way it fills more of
            it, above 0, to 1. None: as the padding says; otherwise the padding is not used.
        horizontal_alignment: ``left``, ``center`` or ``right`` of the space that is left.
        vertical_alignment: ``top``, ``center`` or ``bottom``.

    Raises:
        InvalidArgument: a value is out of its range.
    """

    placement: PlacementKind = "fit"
    padding: float = 0.1
    fill: float | None = None
    horizontal_alignment: HorizontalAlignment = "center"
    vertical_alignment: VerticalAlignment = "center"

    def __post_init__(self) -> None:
        choices = (
            ("placement", PlacementKind),
            ("horizontal_alignment", HorizontalAlignment),
            ("vertical_alignment", VerticalAlignment),
        )
        for name, kind in choices:
            if getattr(self, name) not in get_args(kind):
                raise expected(name, shown(getattr(self, name)), f"one of {', '.join(get_args(kind))}")
        object.__setattr__(self, "padding", number("padding", self.padding, 0, 0.45))
        if self.fill is not None:
            object.__setattr__(self, "fill", number("fill", self.fill, 0, 1, above=True))

    def place(self, cutout: Cutout, canvas: tuple[int, int]) -> Placement:
        """The product on a canvas.

        Args:
            cutout: the product, in its photo.
            canvas: width and height in pixels.
        """
        width, height = canvas
        x0, y0, x1, y1 = cutout.box
        largest = min(width / (x1 - x0), height / (y1 - y0))
        if self.placement == "original":
            rows, columns = cutout.alpha.shape
            # As the photo covers the canvas, unless the product would be cut off.
            factor = min(max(width / columns, height / rows), largest)
            x_px = _centre(x0 * factor, x1 * factor, columns * factor, width)
            y_px = _centre(y0 * factor, y1 * factor, rows * factor, height)
            return Placement(cutout, x_px / width, y_px / height, factor / largest)
        margin = self._margin(width, height)
        free_width, free_height = width - 2 * margin[0], height - 2 * margin[1]
        factor = min(free_width / (x1 - x0), free_height / (y1 - y0))
        sides = [
            (margin[0], free_width - (x1 - x0) * factor, (x1 - x0) * factor, self.horizontal_alignment),
            (margin[1], free_height - (y1 - y0) * factor, (y1 - y0) * factor, self.vertical_alignment),
        ]
        x_px, y_px = (low + free * _SIDES[where] + size / 2 for low, free, size, where in sides)
        return Placement(cutout, x_px / width, y_px / height, factor / largest)

    def _margin(self, width: int, height: int) -> tuple[float, float]:
        """Free pixels at each vertical side and at each horizontal side."""
        if self.fill is not None:
            return width * (1 - self.fill) / 2, height * (1 - self.fill) / 2
        margin = self.padding * min(width, height)
        return margin, margin


def _centre(low: float, high: float, photo: float, canvas: float) -> float:
    """The middle of a product from ``low`` to ``high`` in a photo, on a canvas that shows the photo's middle.

    Where the product would lie beyond the canvas, what it shows is moved.
    """
    left = min(max((photo - canvas) / 2, high - canvas), low)
    return (low + high) / 2 - left


def aspect_ratio(text: object) -> float:
    """``"4:5"`` as 0.8.

    Raises:
        InvalidArgument: it is not of that form, or further from square than 4:1.
    """
    match = _RATIO.fullmatch(text) if isinstance(text, str) else None
    ratio = int(match[1]) / int(match[2]) if match else 0.0
    if not 1 / _WIDEST <= ratio <= _WIDEST:
        # YAML takes 4:5 without quotes for a number in base 60.
        raise expected("aspect_ratio", shown(text), "W:H in quotes, from 1:4 to 4:1")
    return ratio


def canvas_of(ratio: float, legal: Canvas) -> tuple[int, int]:
    """The canvas of an aspect ratio, of about as many pixels as the family was trained on.

    Args:
        ratio: width over height.
        legal: the sizes that the family serves.

    Raises:
        InvalidArgument: none of them has about this shape.
    """
    width = legal.native_side * math.sqrt(ratio)
    longest, shortest = max(width, width / ratio), min(width, width / ratio)
    shrink = min(1.0, legal.max_side / longest)
    shrink = max(shrink, legal.min_side / shortest)

    def side(pixels: float) -> int:
        whole = round(pixels * shrink / legal.multiple) * legal.multiple
        least = -(-legal.min_side // legal.multiple) * legal.multiple
        return min(max(whole, least), legal.max_side // legal.multiple * legal.multiple)

    canvas = side(width), side(width / ratio)
    if abs(canvas[0] / canvas[1] / ratio - 1) > _MAX_BENT:
        form = f"a shape that sides from {legal.min_side} to {legal.max_side} can have"
        raise expected("aspect_ratio", f"{ratio:.3g}:1", form)
    return canvas
