"""A finished picture larger than its canvas: the product hides the one that was painted, and nothing is bent."""

from __future__ import annotations

import numpy as np
import pytest

from packshot import compose
from packshot.catalog.enlarging import Enlargement
from packshot.catalog.layout import Layout
from packshot.cutout import bounding_box
from packshot.paste import paste_back
from tests.client.pictures import opaque

#: Canvases as families have them, and finished pictures of about, but mostly not quite, the same shape.
SIZES = [
    ((232, 288), (1600, 2000)),
    ((456, 576), (1600, 2000)),
    ((256, 256), (1000, 1000)),
    ((256, 256), (192, 192)),
    ((320, 192), (1000, 620)),
]
LAYOUTS = [
    Layout(padding=0.12, vertical_alignment="bottom"),
    Layout(fill=0.85),
    Layout(padding=0.2, horizontal_alignment="right", vertical_alignment="top"),
]


@pytest.mark.parametrize(("canvas", "size"), SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(410, 376), (90, 400), (400, 90)])
def test_nothing_of_the_painted_product_is_seen_beside_the_pasted_one(canvas, size, layout, shape):
    enlargement = Enlargement(canvas, size)
    placement = enlargement.place(layout, opaque(*shape, colour=(0, 0, 255)))
    painted, delivered = compose(placement, canvas), compose(enlargement.over(placement), size)
    scene = np.where(painted.alpha[..., None] > 0, np.uint8([255, 0, 0]), np.uint8([0, 255, 0]))
    finished = paste_back(delivered, enlargement.picture(scene))
    # Half of the last pixel is smeared by the enlargement itself.
    assert finished[..., 0].max() < 0.7 * 255


@pytest.mark.parametrize(("canvas", "size"), SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_product_stands_where_the_layout_says(canvas, size, layout):
    enlargement, product = Enlargement(canvas, size), opaque(410, 376)
    delivered = compose(enlargement.over(enlargement.place(layout, product)), size)
    wanted = bounding_box(compose(layout.place(product, size), size).alpha > 0)
    a_pixel = max(size[0] / canvas[0], size[1] / canvas[1], 1)
    assert bounding_box(delivered.alpha > 0) == pytest.approx(wanted, abs=1.5 * a_pixel)


@pytest.mark.parametrize(("canvas", "size"), SIZES)
def test_a_scene_is_enlarged_evenly_and_keeps_its_middle(canvas, size):
    across, down = np.meshgrid(*(np.linspace(0, 255, side) for side in canvas))
    scene = np.stack([across, down, across], axis=2).astype(np.uint8)
    picture = Enlargement(canvas, size).picture(scene)
    assert picture.shape == (size[1], size[0], 3)
    middle = picture[size[1] // 2, size[0] // 2].astype(float)
    assert middle == pytest.approx(127, abs=2)
    steps = [np.ptp(picture[..., channel].astype(float)) for channel in (0, 1)]
    pixels = [step / 255 * (side - 1) for step, side in zip(steps, canvas, strict=True)]
    assert size[0] / pixels[0] == pytest.approx(size[1] / pixels[1], rel=0.02)
