"""What the server refuses before any work is queued, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from packshot.errors import InvalidArgument
from packshot.family import Canvas, Family
from packshot.parameters import Parameters
from packshot_serving.engine import make_schedule
from packshot_serving.requests import (
    check_generate,
    check_prompts,
    read_parameters,
    read_priority,
    read_seed,
)

DIMS = {"C": 4, "T": 77, "D": 64, "K": 1, "G": 32, "S": 256, "s": 16, "E": 256, "4s": 64}
FAMILY = Family("tiny", "fp32", DIMS, Canvas(multiple=8, min_side=64, max_side=512), {})


def text(value: str | bytes) -> np.ndarray:
    return np.array([value if isinstance(value, bytes) else value.encode()], np.object_)


def generation(width: int = 96, height: int = 64, **changes: np.ndarray) -> dict[str, np.ndarray]:
    mask = np.full((height, width), 255, np.uint8)
    mask[8:32, 8:32] = 0
    return {
        "prompt": text("a cup"),
        "image": np.zeros((height, width, 3), np.uint8),
        "mask_image": mask,
        "control_image": np.zeros((1, height, width), np.uint8),
        **changes,
    }


def test_a_right_request_passes():
    check_generate(generation(), FAMILY)
    check_generate(generation(priority=np.array([2], np.int32)), FAMILY)


STRENGTH = np.array([0.5], np.float32)


def test_a_picture_to_start_from_passes():
    check_generate(generation(strength=STRENGTH, image_latents=np.ones((4, 8, 12), np.float32)), FAMILY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_image": np.zeros((60, 64), np.uint8)}, r"generate.mask_image: got uint8\[60,64\], expected uint8\[64,96\] like image"),
        ({"control_image": np.zeros((2, 64, 96), np.uint8)}, r"generate.control_image: got uint8\[2,64,96\], expected uint8\[1,64,96\]"),
        ({"mask_image": np.zeros((64, 96), np.uint8)}, "generate.mask_image: got nothing to repaint"),
        ({"mask_image": np.full((64, 96), 255, np.uint8)}, "generate.mask_image: got no product to keep"),
        ({"num_inference_steps": np.array([0], np.int32)}, "num_inference_steps: got 0, expected an integer from 1 to 200"),
        ({"num_inference_steps": np.array([10_000], np.int32)}, "num_inference_steps: got 10000"),
        ({"guidance_scale": np.array([np.nan], np.float32)}, "guidance_scale: got nan"),
        ({"guidance_scale": np.array([np.inf], np.float32)}, "guidance_scale: got inf"),
        ({"controlnet_conditioning_scale": np.array([-1], np.float32)}, r"controlnet_conditioning_scale: got -1.0"),
        ({"control_guidance_start": np.array([1], np.float32)}, "control_guidance_start: .* expected start < end"),
        ({"scheduler": text("plms")}, "scheduler: got 'plms', expected one of dpmpp_2m"),
        ({"seed": np.array([-1], np.int64)}, "seed: got -1"),
        ({"prompt": text(b"\xff")}, "prompt: got bytes that are not UTF-8"),
        ({"prompt": text("x" * 100_001)}, "prompt: got 100001 bytes"),
        ({"latents": np.full((4, 8, 12), 1e38, np.float32)}, "generate.latents: got values up to 1e"),
        ({"latents": np.zeros((4, 8, 8), np.float32)}, r"generate.latents: got float32\[4,8,8\], expected float32\[4,8,12\]"),
        ({"latents": np.full((4, 8, 12), np.nan, np.float32)}, "generate.latents: got NaN or infinity"),
        ({"guidance_end": np.array([1.5], np.float32)}, "guidance_end: got 1.5, expected a number from 0 to 1"),
        ({"strength": np.array([0], np.float32)}, "strength: got 0.0, expected a number above 0, up to 1"),
        ({"strength": np.array([1.01], np.float32)}, "strength: got 1.01, expected a number above 0, up to 1"),
        ({"strength": np.array([0.03], np.float32)}, "strength: got 0.03, expected at least 1/25: else none of the steps is left"),
        ({"strength": STRENGTH}, "image_latents: got nothing at strength 0.5, expected .* vae_encoder's masked_image_latents of it with a mask_image of zeros"),
        ({"strength": STRENGTH, "image_latents": np.zeros((4, 12, 8), np.float32)}, r"generate.image_latents: got float32\[4,12,8\], expected float32\[4,8,12\]"),
        ({"strength": STRENGTH, "image_latents": np.full((4, 8, 12), np.nan, np.float32)}, "generate.image_latents: got NaN or infinity"),
        ({"strength": STRENGTH, "image_latents": np.full((4, 8, 12), 1e38, np.float32)}, "generate.image_latents: got values up to 1e.* a picture in the scale of the UNet"),
        ({"priority": np.array([0], np.int32)}, "priority: got 0, expected an integer from 1 to 2"),
        ({"priority": np.array([3], np.int32)}, "priority: got 3"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused(changes, message):
    with pytest.raises(InvalidArgument, match=message):
        check_generate(generation(**changes), FAMILY)


@pytest.mark.parametrize(("width", "height"), [(100, 64), (64, 56), (520, 64), (0, 0)])
def test_illegal_canvases_are_refused_with_the_range(width, height):
    with pytest.raises(
        InvalidArgument, match=f"got {width}x{height}, expected sides from 64 to 512, multiples of 8"
    ):
        check_generate(generation(width, height), FAMILY)


def test_what_is_left_out_keeps_its_default():
    assert read_parameters({}, FAMILY) == Parameters()
    assert read_seed({}) == 0
    assert read_priority({}) == 1


def test_what_is_left_out_is_what_suits_the_family():
    family = replace(FAMILY, generation_config={"guidance_scale": 2.0, "num_inference_steps": 20})
    given = {"num_inference_steps": np.array([7], np.int32)}
    assert read_parameters(given, family) == Parameters(num_inference_steps=7, guidance_scale=2.0)


def test_given_parameters_arrive():
    parameters = read_parameters(
        {
            "num_inference_steps": np.array([7], np.int32),
            "controlnet_conditioning_scale": np.array([0.25, 1], np.float32),
            "scheduler": text("euler"),
            "guidance_end": np.array([0.6], np.float32),
            "strength": np.array([0.7], np.float32),
        },
        FAMILY,
    )
    assert parameters.num_inference_steps == 7
    assert parameters.controlnet_conditioning_scale == (0.25, 1.0)
    assert parameters.scheduler == "euler"
    assert (parameters.guidance_end, parameters.strength) == (0.6, 0.7)
    assert read_priority({"priority": np.array([2], np.int32)}) == 2


def prompt(coords: list[list[float]], labels: list[int]) -> dict[str, np.ndarray]:
    return {
        "reshaped_input_size": np.array([192, 256]),
        "point_coords": np.array(coords, np.float32).reshape(-1, 2),
        "point_labels": np.array(labels, np.int64),
    }


@pytest.mark.parametrize(
    ("coords", "labels"),
    [
        ([[10, 10], [0, 0]], [1, -1]),
        ([[10, 10], [20, 20], [0, 0]], [1, 0, -1]),
        ([[0, 0], [256, 192]], [2, 3]),
    ],
)
def test_a_right_prompt_passes(coords, labels):
    check_prompts(prompt(coords, labels), FAMILY)


@pytest.mark.parametrize(
    ("coords", "labels", "message"),
    [
        ([], [], "at least one point on the product or a box"),
        ([[0, 0]], [-1], "at least one point on the product or a box"),
        ([[5, 5], [0, 0]], [0, -1], "at least one point on the product or a box"),
        ([[5, 5]], [7], "labels 0, 1, 2, 3"),
        ([[5, 5]] * 65, [1] * 65, "got 65 points, expected at most 64"),
        ([[5, 5]], [2], "both corners of each box"),
        ([[50, 50], [1, 1]], [2, 3], "top left, then bottom right"),
        ([[5, 5], [5, 5]], [2, 3], "top left, then bottom right"),
        ([[5, 193], [0, 0]], [1, -1], "points inside 256x192"),
        ([[np.nan, 5], [0, 0]], [1, -1], "points inside 256x192"),
        ([[5, 5], [0, 0]], [1], r"int64\[2\] like point_coords"),
    ],
)
def test_a_wrong_prompt_is_refused(coords, labels, message):
    with pytest.raises(InvalidArgument, match=message):
        check_prompts(prompt(coords, labels), FAMILY)


def test_a_photo_that_does_not_fill_the_square():
    small = {**prompt([[5, 5], [0, 0]], [1, -1]), "reshaped_input_size": np.array([100, 100])}
    with pytest.raises(InvalidArgument, match=r"segment\.reshaped_input_size: got .* the longer side 256"):
        check_prompts(small, FAMILY)


@pytest.mark.parametrize("name", ["prompt", "image", "mask_image", "control_image"])
def test_what_is_missing_is_named(name):
    request = {given: array for given, array in generation().items() if given != name}
    with pytest.raises(InvalidArgument, match=f"generate.{name}: got nothing, expected"):
        check_generate(request, FAMILY)


def test_a_missing_prompt_for_sam_is_named():
    with pytest.raises(InvalidArgument, match=r"segment\.point_coords: got nothing"):
        check_prompts({"reshaped_input_size": np.array([192, 256])}, FAMILY)


def test_a_window_means_what_the_caller_wrote():
    """0.7 as FP32 is a little less; taken literally it would close the window a step early."""
    window = read_parameters({"control_guidance_end": np.array([0.7], np.float32)}, FAMILY)
    assert window.control_guidance_end == (0.7,)


def test_a_strength_means_what_the_caller_wrote():
    """0.7 of 10 steps are 7; of the FP32 next to 0.7 they would be 6."""
    strength = read_parameters({"strength": np.array([0.7], np.float32)}, FAMILY).strength
    assert make_schedule("euler", {}, 10, strength=strength).num_steps == 7


def test_a_scheduler_that_the_checkpoint_rules_out():
    family = Family("clipped", "fp32", DIMS, FAMILY.canvas, {"clip_sample": True})
    with pytest.raises(InvalidArgument, match=r"scheduler: .*clip_sample"):
        check_generate(generation(scheduler=text("ddim")), family)
