"""From a photo and a prompt to a cut-out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from packshot import InvalidArgument
from tests.client.fake_triton import whole_photo
from tests.client.pictures import texture


def test_the_cut_out_is_the_mask_with_the_best_predicted_iou(studio):
    photo = texture(120, 80)
    cutout = studio.cut_out(photo, points=[(5, 5)])
    assert cutout.iou == pytest.approx(0.9)
    assert cutout.box[2] == pytest.approx(60, abs=2)
    np.testing.assert_array_equal(cutout.image, photo)
    assert [round(one.iou, 3) for one in cutout.alternatives] == [0.7, 0.5]
    assert [one.box[2] for one in cutout.alternatives] == [pytest.approx(90, abs=2), pytest.approx(30, abs=2)]


def test_what_is_transparent_in_the_photo_is_no_product(studio):
    rgba = np.dstack([texture(120, 80), np.full((80, 120), 255, np.uint8)])
    rgba[:, 10:20, 3] = 0
    cutout = studio.cut_out(Image.fromarray(rgba), points=[(5, 5)])
    assert not cutout.mask[:, 10:20].any()
    assert cutout.mask[:, :10].all()


def test_sam_sees_the_photo_in_its_square(studio, triton):
    studio.cut_out(np.full((80, 120, 3), 9, np.uint8), points=[(60, 40)], boxes=[(0, 0, 120, 80)])
    (asked,) = triton.arrays("segment")
    assert asked["reshaped_input_size"].tolist() == [43, 64]
    assert (asked["image"][:43] == 9).all()
    assert not asked["image"][43:].any()
    np.testing.assert_allclose(asked["point_coords"], [[32, 21.5], [0, 0], [64, 43]])
    assert asked["point_labels"].tolist() == [1, 2, 3]


def test_several_boxes_are_parts_of_one_product(studio, triton):
    def quarters(arrays):
        masks = np.full((3, 16, 16), -1.0, np.float32)
        left = int(arrays["point_coords"][0, 0]) // 4
        masks[:, :, left : left + 4] = 1
        iou = 0.5 + left / 100
        return {"low_res_masks": masks, "iou_predictions": np.array([iou, 0.1, 0.1], np.float32)}

    triton.models["segment"] = quarters
    cutout = studio.cut_out(texture(64, 64), boxes=[(0, 0, 16, 64), (32, 0, 48, 64)])
    columns = cutout.mask.any(axis=0)
    assert columns[4:12].all()
    assert columns[36:44].all()
    assert not columns[22:28].any()
    assert not columns[54:].any()
    assert cutout.iou == pytest.approx(0.5), "a cut-out is as sure as its least sure part"


def test_a_photo_on_which_sam_finds_nothing_is_told(studio, triton):
    triton.models["segment"] = lambda arrays: {
        "low_res_masks": np.full((3, 16, 16), -1, np.float32),
        "iou_predictions": np.ones(3, np.float32),
    }
    with pytest.raises(InvalidArgument, match="prompt: got no mask with a pixel in it"):
        studio.cut_out(texture(64, 64), points=[(5, 5)])


def test_masks_without_a_pixel_are_passed_over(studio, triton):
    def one_of_three(arrays):
        answer = whole_photo(arrays)
        answer["low_res_masks"][1:] = -1
        return answer

    triton.models["segment"] = one_of_three
    cutout = studio.cut_out(texture(64, 64), points=[(5, 5)])
    assert cutout.iou == pytest.approx(0.5)
    assert cutout.alternatives == ()


@pytest.mark.parametrize(
    "prompt", [{}, {"points": [(64, 5)]}, {"boxes": [(5, 5, 70, 9)]}, {"points": [(5, 5)], "labels": [0]}]
)
def test_a_wrong_prompt_never_reaches_the_server(studio, triton, prompt):
    with pytest.raises(InvalidArgument):
        studio.cut_out(texture(64, 64), **prompt)
    assert triton.calls == []
