"""The served SAM answers what ``transformers.SamModel`` answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut, coffee
from transformers import SamImageProcessor, SamModel

TOLERANCE = 1e-3

PROMPTS = {  # points, labels, box; in pixels of the square that SAM sees
    "one point": ([[30, 20]], [1], None),
    "three points": ([[30, 20], [10, 12], [40, 30]], [1, 0, 1], None),
    "box": (None, None, [10, 8, 50, 35]),
    "box and point": ([[30, 20]], [0], [10, 8, 50, 35]),
}


@pytest.fixture(scope="module")
def sam(served):
    return SamModel.from_pretrained(served.checkpoints / "sam").eval()


def letterbox(photo: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo in SAM's square, and its size there; the rest is not black, to show that it is ignored."""
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    size = (int(height * scale + 0.5), int(width * scale + 0.5))
    square = np.full((side, side, 3), 77, np.uint8)
    square[: size[0], : size[1]] = np.asarray(
        Image.fromarray(photo).resize(size[::-1], Image.Resampling.BILINEAR)
    )
    return square, np.array(size, np.int64)


def point_arrays(points, labels, box) -> dict[str, np.ndarray]:
    coords = [*(points or []), *([box[:2], box[2:]] if box else [[0, 0]])]
    return {
        "point_coords": np.array(coords, np.float32),
        "point_labels": np.array([*(labels or []), *([2, 3] if box else [-1])], np.int64),
    }


def reference(sam: SamModel, photo: np.ndarray, points, labels, box) -> tuple[np.ndarray, np.ndarray]:
    """low_res_masks float32[3,4s,4s] and iou_predictions float32[3] of transformers."""
    side = sam.config.vision_config.image_size
    processor = SamImageProcessor(size={"longest_edge": side}, pad_size={"height": side, "width": side})
    pixels = processor(photo, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        answer = sam(
            pixel_values=pixels,
            input_points=torch.tensor([[points]], dtype=torch.float32) if points else None,
            input_labels=torch.tensor([[labels]]) if labels else None,
            input_boxes=torch.tensor([[box]], dtype=torch.float32) if box else None,
        )
    return answer.pred_masks[0, 0].numpy(), answer.iou_scores[0, 0].numpy()


def assert_equal(masks, ious, expected_masks, expected_ious) -> None:
    assert np.abs(masks - expected_masks).max() <= TOLERANCE
    assert np.abs(ious - expected_ious).max() <= TOLERANCE
    assert ious.argmax() == expected_ious.argmax()


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_masks_and_scores(served, sam, prompt):
    square, size = letterbox(coffee(), sam.config.vision_config.image_size)
    answer = served.triton.infer(
        "segment", {"image": square, "reshaped_input_size": size, **point_arrays(*prompt)}
    )
    assert_equal(answer["low_res_masks"], answer["iou_predictions"], *reference(sam, coffee(), *prompt))


def test_a_batch_of_two_photos_with_different_prompts(served, sam):
    """The decoder pairs photo i with prompt i: two answers, not four, and not each other's."""
    photos = [coffee(), astronaut()[:400]]
    prompts = [PROMPTS["one point"], ([[12, 40]], [1], None)]
    side = sam.config.vision_config.image_size
    squares, sizes = zip(*(letterbox(photo, side) for photo in photos), strict=True)
    embeddings = served.triton.infer_batch(
        "sam_encoder", {"image": np.stack(squares), "reshaped_input_size": np.stack(sizes)}
    )
    points = [point_arrays(*prompt) for prompt in prompts]
    answer = served.triton.infer_batch(
        "sam_decoder",
        {**embeddings, **{name: np.stack([p[name] for p in points]) for name in points[0]}},
    )
    assert answer["low_res_masks"].shape[:2] == (2, 3)
    for i, photo in enumerate(photos):
        assert_equal(
            answer["low_res_masks"][i], answer["iou_predictions"][i], *reference(sam, photo, *prompts[i])
        )


def test_a_photo_is_encoded_once(tiny):
    """The second prompt on a photo takes its embedding from Triton's response cache."""
    square, size = letterbox(np.ascontiguousarray(coffee()[::-1]), tiny.family.dims["S"])
    before = tiny.triton.executions("sam_encoder")
    for prompt in PROMPTS.values():
        tiny.triton.infer("segment", {"image": square, "reshaped_input_size": size, **point_arrays(*prompt)})
    assert tiny.triton.executions("sam_encoder") == before + 1
