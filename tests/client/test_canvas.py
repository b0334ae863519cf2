"""Products on a canvas."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from packshot import Composition, Cutout, InvalidArgument, Placement, compose
from packshot.canvas import GREY
from packshot.cutout import bounding_box
from tests.client.pictures import opaque, product, texture

CANVAS = (96, 64)


def centre_and_size(composition: Composition) -> tuple[float, float, int, int]:
    x0, y0, x1, y1 = bounding_box(composition.alpha >= 128)
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def test_native_pixels_are_copied_bit_for_bit():
    cutout = product(width=40, height=24, margin=10)
    composition = compose(Placement(cutout, x=0.5, y=0.5, scale=None), CANVAS)
    np.testing.assert_array_equal(composition.alpha[20:44, 28:68], cutout.alpha[10:34, 10:50])
    np.testing.assert_array_equal(composition.foreground[20:44, 28:68], cutout.image[10:34, 10:50])
    assert composition.alpha.astype(bool).sum() == 40 * 24


def test_a_scale_of_just_one_to_one_is_native():
    cutout = product(width=48, height=24)
    scaled = compose(Placement(cutout, x=0.4, y=0.5, scale=0.5), CANVAS)
    native = compose(Placement(cutout, x=0.4, y=0.5, scale=None), CANVAS)
    np.testing.assert_array_equal(scaled.image, native.image)
    np.testing.assert_array_equal(scaled.alpha, native.alpha)


@pytest.mark.parametrize("quarters", [-3, -2, -1, 0, 1, 2, 3, 4])
def test_quarter_turns_move_pixels_without_mixing_them(quarters):
    cutout = product(width=40, height=24, margin=10)
    composition = compose(Placement(cutout, x=0.5, y=0.5, scale=None, rotation_degree=90 * quarters), CANVAS)
    x0, y0, x1, y1 = bounding_box(composition.alpha > 0)
    wanted = np.rot90(cutout.image[10:34, 10:50], quarters)
    np.testing.assert_array_equal(composition.foreground[y0:y1, x0:x1], wanted)


@pytest.mark.parametrize("degree", [1e-12, -1e-17, 90 - 1e-9, -180 + 1e-7])
def test_a_rotation_next_to_quarter_turns_is_one(degree):
    place = Placement(product(), x=0.5, y=0.5, scale=None)
    turned = compose(dataclasses.replace(place, rotation_degree=degree), CANVAS)
    wanted = compose(dataclasses.replace(place, rotation_degree=90 * round(degree / 90)), CANVAS)
    np.testing.assert_array_equal(turned.foreground, wanted.foreground)
    np.testing.assert_array_equal(turned.alpha, wanted.alpha)


def test_scale_one_is_the_largest_that_fits():
    wide = compose(Placement(opaque(40, 10), x=0.5, y=0.5, scale=1), CANVAS)
    assert centre_and_size(wide) == (48, 32, 96, 24)
    high = compose(Placement(opaque(10, 40), x=0.5, y=0.5, scale=1), CANVAS)
    assert centre_and_size(high) == (48, 32, 16, 64)
    half = compose(Placement(opaque(40, 10), x=0.5, y=0.5, scale=0.5), CANVAS)
    assert centre_and_size(half) == (48, 32, 48, 12)


@pytest.mark.parametrize("seed", range(12))
def test_the_products_centre_lands_where_it_was_asked_for(seed):
    random = np.random.default_rng(seed)
    width, height = random.integers(20, 200, 2)
    x, y, scale = (float(random.uniform(*span)) for span in ((0.4, 0.6), (0.4, 0.6), (0.2, 0.5)))
    rotation = float(random.uniform(-180, 180))
    composition = compose(Placement(opaque(int(width), int(height)), x, y, scale, rotation), CANVAS)
    weights = composition.alpha.astype(float)
    rows, columns = np.indices(weights.shape) + 0.5
    centre = (columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()
    np.testing.assert_allclose(centre, (x * 96, y * 64), atol=0.6)
    factor = scale * min(96 / width, 64 / height)
    np.testing.assert_allclose(weights.sum() / 255, width * height * factor**2, rtol=0.12)


def test_rotation_is_counter_clockwise():
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, 20:] = 255
    bright_right = Cutout(image, np.full((10, 40), 255, np.uint8))
    for degree in (89.0, 90.0):
        turned = compose(Placement(bright_right, 0.5, 0.5, None, degree), CANVAS)
        rows = np.flatnonzero((turned.foreground[..., 0] > 200).any(axis=1))
        assert rows.max() < 34, f"the right end points up after {degree} degrees"


@pytest.mark.parametrize(("scale", "rotation"), [(0.3, 0.0), (0.9, 0.0), (0.3, 17.0), (0.9, 200.0)])
def test_resampling_brings_in_no_colour_from_outside_the_product(scale, rotation):
    image = np.full((60, 80, 3), (0, 255, 0), np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[10:50, 10:70] = True
    image[mask] = (200, 40, 20)
    composition = compose(Placement(Cutout.from_mask(image, mask), 0.5, 0.5, scale, rotation), CANVAS)
    seen = composition.foreground[composition.alpha > 2].astype(int)
    assert np.abs(seen - (200, 40, 20)).max() <= 2


def test_later_placements_stand_in_front():
    back, front = opaque(colour=(255, 0, 0)), opaque(20, 12, colour=(0, 0, 255))
    composition = compose([Placement(back, y=0.5), Placement(front, y=0.5, scale=0.2)], CANVAS)
    assert composition.image[32, 48].tolist() == [0, 0, 255]
    assert composition.image[32, 28].tolist() == [255, 0, 0]
    hidden = compose([Placement(front, y=0.5, scale=0.2), Placement(back, y=0.5)], CANVAS)
    assert composition.alpha.sum() == hidden.alpha.sum()
    assert hidden.image[32, 48].tolist() == [255, 0, 0]


def test_around_the_product_the_canvas_is_grey_and_to_be_painted():
    composition = compose(Placement(product(), y=0.5, scale=None), CANVAS)
    assert set(np.unique(composition.mask_image)) == {0, 255}
    np.testing.assert_array_equal(composition.mask_image == 0, composition.alpha >= 128)
    assert (composition.image[composition.alpha == 0] == GREY).all()
    kept = composition.alpha > 0
    np.testing.assert_array_equal(composition.image[kept], composition.foreground[kept])
    assert composition.size == CANVAS


def test_a_product_may_stand_partly_outside():
    cutout = opaque(40, 24)
    composition = compose(Placement(cutout, x=0, y=0.5, scale=None), CANVAS)
    assert centre_and_size(composition)[2:] == (20, 24)


def test_a_product_larger_than_the_canvas_is_cut_off_at_it():
    image = texture(300, 30)
    composition = compose(Placement(Cutout(image, np.full((30, 300), 255, np.uint8)), 0.5, 0.5, None), CANVAS)
    np.testing.assert_array_equal(composition.foreground[17:47], image[:, 102:198])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": float("nan")}, "placement.x: got nan, expected a number from -1 to 2"),
        ({"y": 3}, "placement.y: got 3"),
        ({"scale": 0}, "placement.scale: got 0, expected a number above 0"),
        ({"scale": -1.0}, "placement.scale: got -1.0"),
        ({"scale": "big"}, "placement.scale: got 'big'"),
        ({"rotation_degree": 361}, "placement.rotation_degree: got 361"),
        ({"cutout": "cup.png"}, "placement.cutout: got str, expected a Cutout"),
    ],
)
def test_a_wrong_placement_is_refused(fields, message):
    with pytest.raises(InvalidArgument, match=message):
        dataclasses.replace(Placement(opaque()), **fields)


@pytest.mark.parametrize(
    ("placements", "canvas", "message"),
    [
        ([], CANVAS, "placements: got none, expected at least one Placement"),
        (["cup"], CANVAS, r"placements\[0\]: got str, expected a Placement, such as Placement\(cutout\)$"),
        ([Placement(opaque()), 3], CANVAS, r"placements\[1\]: got int, expected a Placement"),
        (opaque(), CANVAS, r"placements: got Cutout, expected a Placement, such as Placement\(cutout\)"),
        (None, CANVAS, "placements: got NoneType, expected a Placement"),
        (Placement(opaque()), None, "canvas: got None, expected width and height"),
        (Placement(opaque()), 64, "canvas: got 64, expected width and height"),
        (Placement(opaque()), (True, 64), r"canvas: got \(True, 64\)"),
        (Placement(opaque()), (0, 64), r"canvas: got \(0, 64\), expected width and height"),
        (Placement(opaque()), (64.5, 64), r"canvas: got \(64.5, 64\)"),
        (Placement(opaque()), "64x64", "canvas: got '64x64'"),
        (Placement(opaque(), x=2), CANVAS, r"placements\[0\]: got a product wholly outside the canvas"),
        (
            Placement(opaque(), x=2, rotation_degree=10),
            CANVAS,
            r"placements\[0\]: got a product wholly outside",
        ),
        (
            Placement(opaque(), scale=0.05),
            CANVAS,
            r"placements\[0\]: got a product of 4.8x2.9 pixels, expected at",
        ),
        (Placement(opaque(96, 64), y=0.5, scale=1), CANVAS, "mask_image: got products that cover the whole"),
        ([Placement(opaque()), Placement(opaque(), y=-1)], CANVAS, r"placements\[1\]: got a product wholly"),
    ],
)
def test_a_wrong_composition_is_refused(placements, canvas, message):
    with pytest.raises(InvalidArgument, match=message):
        compose(placements, canvas)


def test_a_canvas_with_only_a_trace_of_a_product_counts_as_empty():
    faint = Cutout(np.zeros((9, 9, 3), np.uint8), np.full((9, 9), 100, np.uint8))
    with pytest.raises(InvalidArgument, match="mask_image: got no pixel that is mostly product"):
        compose(Placement(faint, scale=None), CANVAS)
