"""The gate on pictures whose right answer is known, because they were drawn for it."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from packshot import Composition, Cutout, InvalidArgument, Placement, compose
from packshot.catalog.gate import Measures, Thresholds, measure
from packshot.paste import paste_back

#: Where the product stands on its canvas of 200x160: 60x50 pixels, in hard edges.
X0, Y0, X1, Y1 = 70, 55, 130, 105
#: What every number of a faultless picture passes.
STRICT = Thresholds(0, 0, 1, 0.99, 3, 0.1, False, 0.5)


@pytest.fixture(scope="module")
def composition() -> Composition:
    """A product with stripes in its middle."""
    image = np.full((Y1 - Y0, X1 - X0, 3), (200, 60, 30), np.uint8)
    image[20:30] = (20, 40, 200)
    cutout = Cutout(image, np.full(image.shape[:2], 255, np.uint8))
    return compose(Placement(cutout, x=0.5, y=0.5, scale=None), (200, 160))


def scene() -> np.ndarray:
    """Soft hills of grey, without an edge: 60 to 120."""
    rows, columns = np.mgrid[:160, :200]
    luma = 90 + 30 * np.sin(rows / 25) * np.cos(columns / 30)
    return np.repeat(luma.astype(np.uint8)[..., None], 3, axis=2)


def good(composition: Composition) -> np.ndarray:
    return paste_back(composition, scene())


def test_a_faultless_picture_passes_the_strictest_gate(composition):
    found = composition.alpha > 0
    measures = measure(good(composition), composition, found, mask_iou=0.9)
    assert measures.failures(STRICT, plain=False) == ()
    assert (measures.product_difference, measures.object_expansion, measures.edge_f1_inside) == (0, 0, 1)


def test_one_level_in_one_channel_of_one_product_pixel_is_a_difference_of_one(composition):
    picture = good(composition)
    picture[80, 100, 1] += 1
    measures = measure(picture, composition)
    assert measures.product_difference == 1
    assert measures.failures(Thresholds(), plain=False) == ("product_difference: 1, expected at most 0",)


def test_what_has_grown_on_to_the_product_is_told_in_shares_of_it(composition):
    picture, found = good(composition), composition.alpha > 0
    found = found.copy()
    found[70:80, X1 : X1 + 30] = True
    picture[70:80, X1 : X1 + 30] = (200, 60, 30)
    measures = measure(picture, composition, found)
    assert measures.object_expansion == pytest.approx(10 * 30 / (60 * 50))
    assert measures.failures(Thresholds(max_object_expansion=0.05), plain=False) == (
        "object_expansion: 0.1, expected at most 0.05",
    )


def test_a_product_that_sam_finds_smaller_has_not_grown(composition):
    found = np.zeros_like(composition.alpha, bool)
    found[60:80, 80:100] = True
    assert measure(good(composition), composition, found).object_expansion == 0


def test_a_product_that_sam_does_not_find_fails_where_expansion_is_asked_for(composition):
    measures = measure(good(composition), composition)
    assert measures.object_expansion is None
    assert measures.failures(Thresholds(max_object_expansion=0.1), plain=False) == (
        "object_expansion: SAM finds no product, expected at most 0.1",
    )
    assert measures.failures(Thresholds(), plain=False) == ()


def test_on_a_plain_background_sam_is_not_asked_and_expansion_no_failure(composition):
    measures = measure(good(composition), composition)
    assert measures.failures(Thresholds(max_object_expansion=0), plain=True) == ()


def test_a_halo_is_a_large_gradient_beside_the_product(composition):
    usual = measure(good(composition), composition).boundary_gradient
    haloed = scene()
    ring = cv2.dilate((composition.alpha > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    haloed[ring] = 230
    measures = measure(paste_back(composition, haloed), composition)
    assert usual is not None
    assert measures.boundary_gradient is not None
    assert measures.boundary_gradient > 5 * usual
    (failure,) = measures.failures(Thresholds(max_boundary_gradient=3), plain=False)
    assert failure.startswith("boundary_gradient: ")


def test_a_scene_that_runs_into_the_product_leaves_its_rim_without_edges(composition):
    clean = measure(good(composition), composition)
    merged = scene()
    merged[:, :] = (200, 60, 30)
    merged[:, ::40] = 90
    measures = measure(paste_back(composition, merged), composition)
    assert clean.edge_f1_rim > 0.99
    assert measures.edge_f1_rim < 0.6
    assert measures.edge_f1_inside == 1
    assert measures.failures(Thresholds(min_edge_f1_rim=0.8, max_clipped=None), plain=False)[0].startswith(
        "edge_f1_rim"
    )


def test_lost_stripes_are_missing_edges_inside(composition):
    picture = good(composition)
    picture[Y0:Y1, X0:X1] = (200, 60, 30)
    assert measure(picture, composition).edge_f1_inside == 0


def test_invented_stripes_are_too_many_edges_inside(composition):
    picture = good(composition)
    picture[Y0:Y1, X0 + 8 : X1 - 8 : 8] = 255
    assert 0 < measure(picture, composition).edge_f1_inside < 0.7


@pytest.mark.parametrize(("colour", "share"), [(0, 0.25), (255, 0.25), (1, 0), (254, 0)])
def test_clipped_is_the_share_of_pure_black_and_white(composition, colour, share):
    picture = scene()
    picture[:, :50] = colour
    measures = measure(paste_back(composition, picture), composition)
    assert measures.clipped == pytest.approx(share * 160 * 200 / (160 * 200 - 60 * 50))


def test_an_even_scene_is_blank_and_a_plain_background_is_so_on_purpose(composition):
    measures = measure(paste_back(composition, np.full((160, 200, 3), 255, np.uint8)), composition)
    assert (measures.blank, measures.clipped, measures.boundary_gradient) == (True, 1, None)
    assert measures.failures(Thresholds(), plain=True) == ()
    assert measures.failures(Thresholds(), plain=False) == (
        "clipped: 1, expected at most 0.5", "blank: true, expected a scene",
    )  # fmt: skip
    assert measures.failures(Thresholds(allow_blank=True, max_clipped=None), plain=False) == ()


def test_a_product_that_leaves_no_scene_but_its_soft_rim_is_measured(composition):
    mask = np.ones((60, 60), bool)
    mask[:2] = mask[-2:] = False
    product = Cutout.from_mask(np.full((60, 60, 3), 90, np.uint8), mask)
    full = compose(Placement(product, x=0.5, y=0.5, scale=1), (60, 56))
    measures = measure(full.image, full)
    assert (measures.clipped, measures.blank) == (0, False)
    assert all(value is None or np.isfinite(value) for value in dataclasses.asdict(measures).values())


def test_a_mask_that_sam_does_not_trust_fails(composition):
    measures = measure(good(composition), composition, mask_iou=0.3)
    assert measures.failures(Thresholds(min_mask_iou=0.5), plain=False) == (
        "mask_iou: 0.3, expected at least 0.5",
    )
    assert measures.failures(Thresholds(), plain=False) == ()


FINE = Measures(0, 0.0, 1, 0.9, 1, 0, False, 0.9)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (FINE, dataclasses.replace(FINE, edge_f1_rim=0.8)),
        (FINE, dataclasses.replace(FINE, object_expansion=0.2)),
        (FINE, dataclasses.replace(FINE, clipped=0.2)),
        (dataclasses.replace(FINE, object_expansion=None), dataclasses.replace(FINE, object_expansion=0.2)),
    ],
)
def test_the_score_prefers_clean_rims_nothing_grown_on_and_nothing_clipped(better, worse):
    assert better.score > worse.score


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(Thresholds) if field.name != "allow_blank"]
)
def test_thresholds_are_numbers_of_0_and_more(name):
    for wrong in (-0.1, float("nan"), "1", True):
        with pytest.raises(InvalidArgument, match=rf"gate\.{name}: got .*, expected a number from 0"):
            Thresholds(**{name: wrong})
    assert getattr(Thresholds(**{name: None}), name) is None
