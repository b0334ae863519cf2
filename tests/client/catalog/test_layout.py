"""Where products stand: measured on the composition, not on the numbers that led to it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from packshot import Cutout, InvalidArgument, compose
from packshot.catalog.layout import Layout, aspect_ratio, canvas_of
from packshot.cutout import bounding_box
from packshot.family import Canvas

CANVASES = [(256, 256), (320, 192), (128, 384)]
#: Width and height of products, from a needle to a board.
PRODUCTS = [(60, 40), (40, 60), (100, 10), (10, 100), (5, 5), (64, 64)]


def cutout(
    width: int, height: int, left: int = 7, top: int = 11, photo: tuple[int, int] | None = None
) -> Cutout:
    """A product in a photo; hard edges, so that its box is exact."""
    columns, rows = photo or (width + left + 13, height + top + 5)
    alpha = np.zeros((rows, columns), np.uint8)
    alpha[top : top + height, left : left + width] = 255
    return Cutout(np.full((rows, columns, 3), 90, np.uint8), alpha)


def box(layout: Layout, product: Cutout, canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    return bounding_box(compose(layout.place(product, canvas), canvas).alpha > 0)


@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("size", PRODUCTS)
@pytest.mark.parametrize("padding", [0, 0.1, 0.3])
def test_the_product_is_as_large_as_the_padding_allows(canvas, size, padding):
    if padding == 0 and canvas[0] * size[1] == canvas[1] * size[0]:
        with pytest.raises(InvalidArgument, match="products that cover the whole canvas"):
            box(Layout(padding=0), cutout(*size), canvas)
        return
    x0, y0, x1, y1 = box(Layout(padding=padding), cutout(*size), canvas)
    margin = padding * min(canvas)
    free = canvas[0] - 2 * margin, canvas[1] - 2 * margin
    assert x0 >= margin - 1
    assert y0 >= margin - 1
    assert x1 <= canvas[0] - margin + 1
    assert y1 <= canvas[1] - margin + 1
    assert max((x1 - x0) - free[0], (y1 - y0) - free[1]) == pytest.approx(0, abs=1), "one way it touches"
    assert (x1 - x0) * size[1] == pytest.approx((y1 - y0) * size[0], abs=1.1 * max(size)), "its shape is kept"


@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("size", PRODUCTS)
@pytest.mark.parametrize("fill", [0.5, 0.85, 0.97])
def test_fill_is_the_share_of_the_canvas_whichever_way_is_larger(canvas, size, fill):
    x0, y0, x1, y1 = box(Layout(fill=fill), cutout(*size), canvas)
    assert max((x1 - x0) / canvas[0], (y1 - y0) / canvas[1]) == pytest.approx(fill, abs=1 / min(canvas))


@pytest.mark.parametrize("vertical", ["top", "center", "bottom"])
@pytest.mark.parametrize("horizontal", ["left", "center", "right"])
def test_alignment_says_where_the_room_is_left(horizontal, vertical):
    layout = Layout(padding=0.1, horizontal_alignment=horizontal, vertical_alignment=vertical)
    for size, canvas in itertools.product([(60, 40), (40, 60)], CANVASES):
        x0, y0, x1, y1 = box(layout, cutout(*size), canvas)
        margin = 0.1 * min(canvas)
        wanted_x = {
            "left": x0 - margin,
            "center": (x0 + x1 - canvas[0]) / 2,
            "right": x1 - canvas[0] + margin,
        }
        wanted_y = {
            "top": y0 - margin,
            "center": (y0 + y1 - canvas[1]) / 2,
            "bottom": y1 - canvas[1] + margin,
        }
        assert wanted_x[horizontal] == pytest.approx(0, abs=1)
        assert wanted_y[vertical] == pytest.approx(0, abs=1)


def test_the_original_position_is_that_in_the_photo():
    product = cutout(40, 20, left=100, top=30, photo=(200, 100))
    assert box(Layout(placement="original"), product, (400, 200)) == pytest.approx((200, 60, 280, 100), abs=1)


def test_of_a_photo_of_another_shape_the_middle_is_seen():
    product = cutout(40, 20, left=100, top=30, photo=(200, 100))
    # 200x200 of the photo at twice its size: from 50 to 150 of its width.
    assert box(Layout(placement="original"), product, (200, 200)) == pytest.approx((100, 60, 180, 100), abs=1)


@pytest.mark.parametrize("canvas", [(256, 256), (128, 384), (384, 128)])
@pytest.mark.parametrize(
    ("left", "top", "width", "height"),
    [(0, 0, 30, 30), (370, 70, 30, 30), (0, 40, 400, 20), (180, 0, 9, 100)],
)
def test_the_original_position_never_cuts_a_product_off(canvas, left, top, width, height):
    product = cutout(width, height, left, top, photo=(400, 100))
    x0, y0, x1, y1 = box(Layout(placement="original"), product, canvas)
    assert (x1 - x0) * height == pytest.approx((y1 - y0) * width, abs=1.1 * max(width, height))
    assert x0 >= 0
    assert y0 >= 0


@pytest.mark.parametrize(
    "legal",
    [
        Canvas(8, 64, 256),
        Canvas(64, 256, 1024),
        Canvas(8, 256, 512),
        Canvas(8, 128, 2048),
        Canvas(16, 72, 250),
    ],
)
@pytest.mark.parametrize("ratio", ["1:1", "4:5", "2:3", "16:9", "9:16", "3:1", "1:4", "4:1"])
def test_a_ratio_becomes_a_legal_canvas_of_that_shape_or_is_refused(legal, ratio):
    wanted = aspect_ratio(ratio)
    longest = legal.max_side // legal.multiple / -(-legal.min_side // legal.multiple)
    if max(wanted, 1 / wanted) > 1.1 * longest:
        with pytest.raises(InvalidArgument, match=r"aspect_ratio: got .* expected a shape that sides from"):
            canvas_of(wanted, legal)
        return
    width, height = canvas_of(wanted, legal)
    legal.check(width, height)
    assert width / height == pytest.approx(wanted, rel=0.1)
    assert width * height <= 1.2 * 512 * 512


@pytest.mark.parametrize(
    "text", ["4/5", "4:0", "0:4", "4:5:6", "-1:1", "1:5", "5:1", "1.5:1", "", None, 245, "٤:٥"]
)
def test_what_is_no_ratio_is_refused(text):
    with pytest.raises(
        InvalidArgument, match=r"aspect_ratio: got .*, expected W:H in quotes, from 1:4 to 4:1"
    ):
        aspect_ratio(text)
