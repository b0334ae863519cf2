"""SAM prompts agree with transformers, and bad ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.sam.processing_sam import SamProcessor

from packshot import InvalidArgument
from packshot.contract import MAX_POINTS
from packshot.sam_prompts import Letterbox, sam_prompts
from tests.client.pictures import texture

SIDE = 128
SIZES = [(600, 400), (400, 600), (128, 128), (127, 64), (1001, 333), (37, 91), (64, 63)]


@pytest.fixture(scope="module")
def processor() -> SamProcessor:
    images = SamImageProcessorPil(
        size={"longest_edge": SIDE},
        pad_size={"height": SIDE, "width": SIDE},
        do_normalize=False,
        do_rescale=False,
    )
    return SamProcessor(images)


@pytest.mark.parametrize("size", SIZES)
def test_the_square_is_that_of_transformers(processor, size):
    photo = texture(*size)
    theirs = processor.image_processor(photo, return_tensors="np")
    letterbox = Letterbox(*size, side=SIDE)
    assert list(letterbox.reshaped_input_size) == theirs["reshaped_input_sizes"][0].tolist()
    np.testing.assert_array_equal(letterbox.fit(photo), theirs["pixel_values"][0].transpose(1, 2, 0))


@pytest.mark.parametrize("size", SIZES)
def test_points_and_boxes_are_those_of_transformers(processor, size):
    width, height = size
    points = [[0.0, 0.0], [width / 3, height / 7], [width - 1.0, height - 1.0]]
    box = [1.0, 2.0, width - 3.5, float(height)]
    theirs = processor(
        texture(*size),
        input_points=[points],
        input_labels=[[1, 0, 1]],
        input_boxes=[[box]],
        return_tensors="np",
    )
    (prompt,) = sam_prompts(Letterbox(*size, side=SIDE), points, [1, 0, 1], [box])
    np.testing.assert_allclose(prompt.point_coords[:3], theirs["input_points"].reshape(-1, 2), rtol=1e-6)
    np.testing.assert_allclose(prompt.point_coords[3:], theirs["input_boxes"].reshape(-1, 2), rtol=1e-5)
    assert prompt.point_labels.tolist() == [1, 0, 1, 2, 3]


@pytest.mark.parametrize("size", SIZES)
def test_masks_come_back_as_in_transformers(processor, size):
    logits = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    letterbox = Letterbox(*size, side=SIDE)
    theirs = processor.image_processor.post_process_masks(
        [torch.from_numpy(logits[None])],
        [size[::-1]],
        [letterbox.reshaped_input_size],
        binarize=False,
        pad_size={"height": SIDE, "width": SIDE},
    )[0][0].numpy()
    for ours, wanted in zip(map(letterbox.to_photo, logits), theirs, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_points_without_a_box_end_with_a_point_that_is_none():
    (prompt,) = sam_prompts(Letterbox(100, 50, side=SIDE), [[10, 10], [20, 20]], [1, 0])
    assert prompt.point_labels.tolist() == [1, 0, -1]
    assert prompt.point_coords[-1].tolist() == [0, 0]
    assert prompt.point_coords.dtype == np.float32
    assert prompt.point_labels.dtype == np.int64


def test_points_are_on_the_product_unless_labelled():
    (prompt,) = sam_prompts(Letterbox(100, 50, side=SIDE), [[10, 10]])
    assert prompt.point_labels.tolist() == [1, -1]


def test_each_box_is_a_prompt_with_the_points_inside_it_and_those_outside_all():
    boxes = [[0, 0, 20, 20], [40, 0, 60, 20]]
    points = [[10, 10], [50, 10], [90, 40]]
    first, second = sam_prompts(Letterbox(100, 50, side=100), points, [1, 1, 0], boxes)
    assert first.point_coords.tolist() == [[10, 10], [90, 40], [0, 0], [20, 20]]
    assert second.point_coords.tolist() == [[50, 10], [90, 40], [40, 0], [60, 20]]
    assert first.point_labels.tolist() == second.point_labels.tolist() == [1, 0, 2, 3]


def test_a_very_thin_photo_keeps_a_row_of_pixels():
    letterbox = Letterbox(16_000, 3, side=SIDE)
    assert letterbox.reshaped_input_size == (1, SIDE)
    assert letterbox.fit(texture(16_000, 3)).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "prompt: got no points and no boxes, expected a box or a point on the product"),
        ({"points": [], "boxes": []}, "prompt: got no points"),
        ({"points": [[5, 5]], "labels": [0]}, "prompt: got 1 background points"),
        ({"points": [[100, 5]]}, r"points\[0\]: got 100,5, expected a point inside the 100x50 photo"),
        ({"points": [[5, 5], [-1, 5]]}, r"points\[1\]: got -1,5"),
        ({"points": [[float("nan"), 5]]}, "points: got NaN or infinity"),
        ({"points": [5, 5]}, r"points: got shape \[2\], expected a list of x, y"),
        ({"points": [[5, 5, 5]]}, r"points: got shape \[1, 3\]"),
        ({"points": [[5, 5], [5]]}, "points: got "),
        ({"points": "middle"}, "points: got 'middle'"),
        ({"points": [(10**400, 1)]}, r"points: got \[\(1000+…, expected a list of x, y"),
        ({"points": [[5, 5]], "labels": [[1], [1, 1]]}, r"labels: got \[\[1\], \[1, 1\]\], expected \[1\]"),
        (
            {"points": [[5, 5]], "labels": [1, 1]},
            r"labels: got shape \[2\], expected \[1\], one for each point",
        ),
        ({"points": [[5, 5]], "labels": [2]}, r"labels: got \[2\], expected 1"),
        ({"labels": [1]}, r"labels: got shape \[1\], expected \[0\]"),
        ({"boxes": [[5, 5, 5, 9]]}, r"boxes\[0\]: got 5,5,5,9, expected x0 < x1 and y0 < y1"),
        ({"boxes": [[5, 5, 101, 9]]}, r"boxes\[0\]: got 5,5,101,9, expected a box inside the 100x50 photo"),
        ({"boxes": [[-1, 5, 10, 9]]}, r"boxes\[0\]: got -1,5,10,9"),
        ({"boxes": [[1, 5, 10, float("inf")]]}, "boxes: got NaN or infinity"),
        (
            {"points": [[5, 5]] * MAX_POINTS},
            f"points: got {MAX_POINTS}, expected at most {MAX_POINTS - 1} without a box",
        ),
        (
            {"points": [[5, 5]] * MAX_POINTS, "boxes": [[1, 1, 9, 9]]},
            f"points: got {MAX_POINTS}, expected at most {MAX_POINTS - 2} for a box",
        ),
        ({"boxes": [1, 2, 3, 4]}, r"boxes: got shape \[4\], expected a list of x0, y0, x1, y1"),
    ],
)
def test_a_wrong_prompt_is_refused(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        sam_prompts(Letterbox(100, 50, side=SIDE), **arguments)
