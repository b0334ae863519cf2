"""Products on a canvas: where they stand, and what the generation is told about it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from packshot.arrays import check_uint8, frozen, shown
from packshot.checks import integer, number
from packshot.contract import MASK_THRESHOLD
from packshot.cutout import Cutout, bounding_box
from packshot.errors import expected

#: The canvas around the products: mid-grey, 0 in the [−1, 1] of the VAE.
GREY = 127
#: A product smaller than this on the canvas cannot be told from dirt.
MIN_PRODUCT_PX = 4
MAX_CANVAS_SIDE_PX = 16_384
MAX_SCALE = 8.0
#: A rotation this close to quarter turns is one: the rest would move no pixel of any canvas.
WHOLE_TURN_DEGREE = 1e-6


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a product stands on a canvas.

    Attributes:
        cutout: the product.
        x: centre of the product in fractions of the canvas' width, 0 left, 1 right. The product is
            the bounding box of the cut-out's visible pixels, not its photo.
        y: the same of the canvas' height, 0 top, 1 bottom.
        scale: size of the product relative to the largest that fits: at 1 its bounding box, before
            rotation, touches two sides of the canvas; at 0.5 it is half as large. None keeps the
            photo's own pixels, one to one.
        rotation_degree: counter-clockwise around the product's centre.

    A placement that needs no resampling (``scale`` None or just 1:1, rotation a multiple of 90,
    give or take ``WHOLE_TURN_DEGREE``) is moved to whole pixels and copied bit for bit.

    Raises:
        InvalidArgument: a number is out of its range.
    """

    cutout: Cutout
    x: float = 0.5
    y: float = 0.6
    scale: float | None = 0.5
    rotation_degree: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.cutout, Cutout):
            raise expected("placement.cutout", type(self.cutout).__name__, "a Cutout")
        for name, low, high in (("x", -1, 2), ("y", -1, 2), ("rotation_degree", -360, 360)):
            object.__setattr__(self, name, number(f"placement.{name}", getattr(self, name), low, high))
        if self.scale is not None:
            scale = number("placement.scale", self.scale, 0, MAX_SCALE, above=True)
            object.__setattr__(self, "scale", scale)


@dataclass(frozen=True, slots=True)
class Composition:
    """Products on a canvas, as the generation and the pasting need them.

    Attributes:
        image: uint8 [H, W, 3], the products on grey.
        mask_image: uint8 [H, W], 255 where the scene is to be painted, 0 where a product is.
        alpha: uint8 [H, W], how much of each pixel is product.
        foreground: uint8 [H, W, 3], the products' own colours, unmixed; 0 where alpha is 0.
    """

    image: np.ndarray
    mask_image: np.ndarray
    alpha: np.ndarray
    foreground: np.ndarray

    def __post_init__(self) -> None:
        image = check_uint8("composition.image", self.image, "H", "W", 3)
        check_uint8("composition.mask_image", self.mask_image, *image.shape[:2])
        check_uint8("composition.alpha", self.alpha, *image.shape[:2])
        check_uint8("composition.foreground", self.foreground, *image.shape)
        repaint = self.mask_image >= MASK_THRESHOLD
        if not repaint.any():
            raise expected("mask_image", "products that cover the whole canvas", "some canvas to paint")
        if repaint.all():
            raise expected(
                "mask_image", "no pixel that is mostly product", "a product not lost at this scale"
            )
        for name in ("image", "mask_image", "alpha", "foreground"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canvas in pixels."""
        return self.image.shape[1], self.image.shape[0]


def compose(placements: Placement | Sequence[Placement], canvas: tuple[int, int]) -> Composition:
    """Put products on a canvas.

    Args:
        placements: one or several, from back to front.
        canvas: width and height in pixels.

    Returns:
        The composition. Colours at a product's soft rim are not mixed with the grey around it, so
        nothing grey can show once the product is pasted back.

    Raises:
        InvalidArgument: no placement, a product wholly outside the canvas or too small on it, or no
            canvas left to paint.
    """
    placed = _check_placements(placements)
    width, height = check_canvas(canvas)
    # Premultiplied: colours in 0 to 255 times alpha, alpha in 0 to 1.
    layer = np.zeros((height, width, 4), np.float32)
    for index, placement in enumerate(placed):
        product = _place(placement, (width, height), f"placements[{index}]")
        layer = product + layer * (1 - product[..., 3:])
    alpha = np.rint(layer[..., 3] * 255).astype(np.uint8)
    colours = layer[..., :3] / np.maximum(layer[..., 3:], 1e-6)
    visible = alpha[..., None] > 0
    foreground = np.where(visible, np.rint(np.clip(colours, 0, 255)), 0).astype(np.uint8)
    return Composition(
        image=np.where(visible, foreground, np.uint8(GREY)),
        mask_image=np.where(alpha < MASK_THRESHOLD, np.uint8(255), np.uint8(0)),
        alpha=alpha,
        foreground=foreground,
    )


def product_box(placement: Placement, canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where an upright product lies on a canvas: x0, y0, x1, y1, whole pixels, perhaps beyond its border."""
    x0, y0, x1, y1 = placement.cutout.box
    factor = _factor(placement, x1 - x0, y1 - y0, canvas)
    columns, rows = _whole(x1 - x0, factor), _whole(y1 - y0, factor)
    left, top = _corner(placement, columns, rows, canvas)
    return left, top, left + columns, top + rows


def _place(placement: Placement, canvas: tuple[int, int], what: str) -> np.ndarray:
    """The product alone on the canvas: float32 [height, width, 4], premultiplied."""
    product = _premultiplied(placement.cutout)
    rows, columns = product.shape[:2]
    factor = _factor(placement, columns, rows, canvas)
    if min(columns, rows) * factor < MIN_PRODUCT_PX:
        got = f"a product of {columns * factor:.1f}x{rows * factor:.1f} pixels"
        raise expected(what, got, f"at least {MIN_PRODUCT_PX} pixels each way")
    quarters = round(placement.rotation_degree / 90)
    if abs(placement.rotation_degree - 90 * quarters) <= WHOLE_TURN_DEGREE:
        # Quarter turns move pixels without mixing them.
        product = _resized(np.rot90(product, quarters), factor)
        layer = _pasted(product, _corner(placement, product.shape[1], product.shape[0], canvas), canvas)
    else:
        layer = _rotated(product, factor, placement, canvas)
    if not layer[..., 3].any():
        raise expected(what, "a product wholly outside the canvas", "some of it on the canvas")
    return layer


def _factor(placement: Placement, columns: int, rows: int, canvas: tuple[int, int]) -> float:
    """Pixels of the canvas for one of the product's."""
    return 1.0 if placement.scale is None else placement.scale * min(canvas[0] / columns, canvas[1] / rows)


def _corner(placement: Placement, columns: int, rows: int, canvas: tuple[int, int]) -> tuple[int, int]:
    """The left and top of so many pixels, moved to whole ones."""
    x, y = placement.x * canvas[0], placement.y * canvas[1]
    return math.floor(x - columns / 2 + 0.5), math.floor(y - rows / 2 + 0.5)


def _whole(side: int, factor: float) -> int:
    return max(1, round(side * factor))


def _premultiplied(cutout: Cutout) -> np.ndarray:
    x0, y0, x1, y1 = bounding_box(cutout.mask)
    alpha = cutout.alpha[y0:y1, x0:x1, None].astype(np.float32) / 255
    return np.concatenate([cutout.image[y0:y1, x0:x1] * alpha, alpha], axis=2)


def _resized(product: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return product
    rows, columns = (_whole(side, factor) for side in product.shape[:2])
    if (rows, columns) == product.shape[:2]:
        return product
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return _legal(cv2.resize(product, (columns, rows), interpolation=how))


def _pasted(product: np.ndarray, corner: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """At whole pixels, cut off at the canvas' border."""
    (rows, columns), (left, top), (width, height) = product.shape[:2], corner, canvas
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + columns, width), min(top + rows, height)
    layer = np.zeros((height, width, 4), np.float32)
    if x0 < x1 and y0 < y1:
        layer[y0:y1, x0:x1] = product[y0 - top : y1 - top, x0 - left : x1 - left]
    return layer


def _rotated(product: np.ndarray, factor: float, placement: Placement, canvas: tuple[int, int]) -> np.ndarray:
    # Interpolating alone would skip pixels when shrinking, so shrink by area first.
    if factor < 1:
        product, factor = _resized(product, factor), 1.0
    rows, columns = product.shape[:2]
    # Continuous coordinates have pixel centres at .5, OpenCV's at whole numbers.
    middle = ((columns - 1) / 2, (rows - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, placement.rotation_degree, factor)
    matrix[:, 2] += (
        placement.x * canvas[0] - 0.5 - middle[0],
        placement.y * canvas[1] - 0.5 - middle[1],
    )
    return _legal(cv2.warpAffine(product, matrix, canvas, flags=cv2.INTER_CUBIC))


def _legal(premultiplied: np.ndarray) -> np.ndarray:
    """Cubic interpolation overshoots; bring alpha to 0…1 without changing the colour it weighs."""
    overshot = premultiplied[..., 3:]
    alpha = np.clip(overshot, 0, 1)
    colours = np.clip(premultiplied[..., :3] / np.maximum(overshot, 1e-6), 0, 255)
    return np.concatenate([colours * alpha, alpha], axis=2)


def check_canvas(canvas: tuple[int, int]) -> tuple[int, int]:
    """Width and height as plain integers.

    Raises:
        InvalidArgument: it is not two whole numbers, or one is out of its range.
    """
    try:
        width, height = (integer("canvas", side, 1, MAX_CANVAS_SIDE_PX) for side in canvas)
    except (TypeError, ValueError):  # Not to be iterated over, another count, or an InvalidArgument.
        form = f"width and height, whole numbers from 1 to {MAX_CANVAS_SIDE_PX}"
        raise expected("canvas", shown(canvas), form) from None
    return width, height


def _check_placements(placements: Placement | Sequence[Placement]) -> list[Placement]:
    form = "a Placement, such as Placement(cutout)"
    if isinstance(placements, Placement):
        return [placements]
    if not isinstance(placements, Iterable):
        raise expected("placements", type(placements).__name__, form)
    placed = list(placements)
    if not placed:
        raise expected("placements", "none", "at least one Placement")
    for index, placement in enumerate(placed):
        if not isinstance(placement, Placement):
            raise expected(f"placements[{index}]", type(placement).__name__, form)
    return placed
