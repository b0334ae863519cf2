"""What the ControlNet sees, and what the caller gets back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from packshot import Cutout, InvalidArgument, Placement, canny, compose, paste_back
from tests.client.pictures import opaque, product, texture

CANVAS = (96, 64)


def test_canny_is_opencvs():
    image = cv2.GaussianBlur(texture(64, 48), (9, 9), 0)
    edges = canny(image, 20, 60)
    np.testing.assert_array_equal(edges, cv2.Canny(image, 20, 60))
    assert set(np.unique(edges)) == {0, 255}


def test_a_white_product_on_white_keeps_its_outline():
    white = np.full((64, 96, 3), 255, np.uint8)
    alpha = np.zeros((64, 96), np.uint8)
    alpha[20:40, 30:70] = 255
    assert not canny(white).any()
    edges = canny(white, alpha=alpha)
    wanted = np.zeros((64, 96), np.uint8)
    wanted[20:40, 30:70] = 255
    wanted[21:39, 31:69] = 0
    np.testing.assert_array_equal(edges, wanted)


def test_the_canvas_border_is_no_contour():
    alpha = np.zeros((64, 96), np.uint8)
    alpha[40:, :30] = 255
    edges = canny(np.full((64, 96, 3), 255, np.uint8), alpha=alpha)
    assert not edges[45:, 0].any()
    assert not edges[-1, :25].any()
    assert edges[40, 10]


def test_where_canny_sees_the_outline_there_is_one_line():
    composition = compose(Placement(opaque(40, 24, (255, 255, 255)), y=0.5, scale=None), CANVAS)
    edges = canny(composition.image, alpha=composition.alpha)
    assert (edges[32] > 0).sum() == 2


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ((200, 100), "canny.high: got 100, expected a number from 200"),
        ((-1, 5), "canny.low: got -1, expected a number from 0"),
        ((float("nan"), 5), "canny.low: got nan"),
        ((0, float("inf")), "canny.high: got inf"),
        (("1", 5), "canny.low: got '1'"),
        ((None, 5), "canny.low: got None"),
    ],
)
def test_wrong_thresholds_are_refused(thresholds, message):
    with pytest.raises(InvalidArgument, match=message):
        canny(texture(8, 8), *thresholds)


def test_wrong_images_are_refused():
    with pytest.raises(InvalidArgument, match=r"canny.image: got uint8\[8,8,1\], expected uint8\[H,W,3\]"):
        canny(texture(8, 8, 1))
    with pytest.raises(InvalidArgument, match=r"canny.alpha: got uint8\[8,9\], expected uint8\[8,8\]"):
        canny(texture(8, 8), alpha=np.zeros((8, 9), np.uint8))


def test_the_product_comes_back_bit_for_bit_and_the_scene_stays():
    cutout = product(width=40, height=24, margin=10)
    composition = compose(Placement(cutout, x=0.5, y=0.5, scale=None), CANVAS)
    scene = texture(*CANVAS, seed=5)
    picture = paste_back(composition, scene)
    inside = composition.alpha == 255
    assert inside.sum() == (40 - 4) * (24 - 4)
    np.testing.assert_array_equal(picture[22:42, 30:66], cutout.image[12:32, 12:48])
    np.testing.assert_array_equal(picture[composition.alpha == 0], scene[composition.alpha == 0])


@pytest.mark.parametrize(("scale", "rotation"), [(None, 0.0), (0.7, 0.0), (0.7, 33.0)])
def test_neither_grey_canvas_nor_photo_background_shows_as_a_halo(scale, rotation):
    # Red product, green background, blue scene: only red and blue may be in the picture.
    image = np.full((60, 80, 3), (0, 255, 0), np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[10:50, 10:70] = True
    image[mask] = (255, 0, 0)
    composition = compose(Placement(Cutout.from_mask(image, mask), 0.5, 0.5, scale, rotation), CANVAS)
    picture = paste_back(composition, np.full((64, 96, 3), (0, 0, 255), np.uint8))
    assert picture[..., 1].max() <= 2
    np.testing.assert_allclose(picture[..., 0].astype(int) + picture[..., 2], 255, atol=2)


def test_a_picture_of_another_size_is_refused():
    composition = compose(Placement(product(), y=0.5), CANVAS)
    with pytest.raises(
        InvalidArgument, match=r"generated_image: got uint8\[64,95,3\], expected uint8\[64,96,3\]"
    ):
        paste_back(composition, texture(95, 64))
