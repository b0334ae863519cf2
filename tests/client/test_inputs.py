"""Requests built from the contract, and what is refused before it is sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from packshot import InvalidArgument
from packshot.contract import MODELS
from packshot.inputs import infer_inputs
from tests.client.fake_triton import DIMS
from tests.client.pictures import generation


def tensors(**changed) -> dict[str, np.ndarray]:
    arrays = {**generation(), "prompt": np.array([b"a cup"], np.object_), **changed}
    return {name: array for name, array in arrays.items() if array is not None}


def test_inputs_carry_the_contracts_names_dtypes_and_a_batch_axis():
    inputs = infer_inputs(MODELS["generate"], tensors(), DIMS)
    assert [(one.name(), one.datatype(), list(one.shape())) for one in inputs] == [
        ("prompt", "BYTES", [1, 1]),
        ("image", "UINT8", [1, 64, 96, 3]),
        ("mask_image", "UINT8", [1, 64, 96]),
        ("control_image", "UINT8", [1, 1, 64, 96]),
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"mask_image": np.zeros((64, 90), np.uint8)},
            r"generate\.mask_image: got uint8\[64,90\], expected uint8\[64,96\] like image",
        ),
        (
            {"control_image": np.zeros((1, 60, 96), np.uint8)},
            r"generate\.control_image: got uint8\[1,60,96\], expected uint8\[1,64,96\] like image",
        ),
        ({"control_image": np.zeros((2, 64, 96), np.uint8)}, r"got uint8\[2,64,96\], expected uint8\[1,64,96\]$"),
        ({"image": np.zeros((64, 96, 3), np.float32)}, r"generate\.image: got float32\[64,96,3\], expected uint8\[H,W,3\]"),
        ({"image": np.zeros((64, 96), np.uint8)}, r"generate\.image: got uint8\[64,96\], expected uint8\[H,W,3\]"),
        ({"image": np.zeros((0, 96, 3), np.uint8)}, r"generate\.image: got uint8\[0,96,3\]"),
        ({"image": None}, r"generate\.image: got nothing, expected uint8\[H,W,3\]"),
        ({"picture": np.zeros(1)}, "generate inputs: got picture, expected some of prompt, negative_prompt, image"),
        ({"latents": np.zeros((3, 8, 12), np.float32)}, r"generate\.latents: got float32\[3,8,12\], expected float32\[4,h,w\]"),
        ({"seed": np.zeros(2, np.int64)}, r"generate\.seed: got int64\[2\], expected int64\[1\]"),
    ],
)  # fmt: skip
def test_what_contradicts_the_contract_is_refused_before_it_is_sent(changed, message):
    with pytest.raises(InvalidArgument, match=message):
        infer_inputs(MODELS["generate"], tensors(**changed), DIMS)


@pytest.mark.parametrize("shape", [(500, 1024, 3), (1024, 500, 3)])
def test_sides_that_have_to_be_equal_are_compared(shape):
    model = replace(MODELS["segment"], inputs=MODELS["segment"].inputs[:1])
    message = f"segment.image: got uint8\\[{shape[0]},{shape[1]},3\\], expected uint8\\[1024,1024,3\\]"
    with pytest.raises(InvalidArgument, match=message):
        infer_inputs(model, {"image": np.zeros(shape, np.uint8)}, {"S": 1024})
