"""What the denoiser refuses, and how it says so."""

from dataclasses import replace

import numpy as np
import pytest

from packshot.errors import InvalidArgument


def test_a_good_request_passes(make_request, family):
    make_request().check(family)
    make_request(size=(128, 16)).check(family)
    replace(make_request(), latents=np.zeros((4, 4, 3), np.float32)).check(family)
    replace(make_request(strength=0.5), image_latents=np.zeros((4, 4, 3), np.float32)).check(family)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("prompt_embeds", np.zeros((5, 7), np.float32), r"got float32\[5,7\], expected float32\[5,6\]"),
        ("prompt_embeds", np.zeros((5, 6), np.float64), r"got float64\[5,6\], expected float32\[5,6\]"),
        ("negative_prompt_embeds", np.zeros((4, 6), np.float32), r"expected float32\[5,6\]"),
        ("masked_image_latents", np.zeros((4, 3, 4), np.float32), r"expected float32\[4,4,3\]"),
        ("mask_latents", np.zeros((4, 3), np.float32), r"got float32\[4,3\], expected float32\[1,4,3\]"),
        ("latents", np.zeros((9, 4, 3), np.float32), r"expected float32\[4,4,3\]"),
        ("latents", np.full((4, 4, 3), np.nan, np.float32), "got 48 values that are NaN or infinite"),
        ("image_latents", np.zeros((4, 3, 4), np.float32), r"expected float32\[4,4,3\]"),
        ("image_latents", np.full((4, 4, 3), np.inf, np.float32), "got 48 values that are NaN or infinite"),
        ("control_image", np.zeros((32, 24), np.uint8), r"expected uint8\[K,H,W\]"),
        ("control_image", np.zeros((1, 32, 24), np.uint8), r"expected uint8\[2,32,24\]"),
        ("control_image", np.zeros((2, 32, 24), np.float32), r"expected uint8\[2,32,24\]"),
        ("control_image", np.zeros((2, 33, 24), np.uint8), "multiples of 8"),
        ("control_image", np.zeros((2, 256, 24), np.uint8), "sides from 16 to 128"),
    ],
)
def test_a_wrong_tensor_is_named_with_what_it_is_and_should_be(make_request, family, name, array, message):
    with pytest.raises(InvalidArgument, match=f"{name}: .*{message}"):
        replace(make_request(), **{name: array}).check(family)


@pytest.mark.parametrize(
    "name", ["prompt_embeds", "negative_prompt_embeds", "masked_image_latents", "mask_latents"]
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_no_number_is_refused(make_request, family, name, value):
    request = make_request()
    array = getattr(request, name).copy()
    array.flat[0] = value
    with pytest.raises(InvalidArgument, match=f"{name}: got 1 values that are NaN or infinite"):
        replace(request, **{name: array}).check(family)


def test_a_start_from_no_picture_is_refused(make_request, family):
    with pytest.raises(
        InvalidArgument, match=r"image_latents: got nothing at strength 0\.5, expected the lat"
    ):
        make_request(strength=0.5).check(family)


@pytest.mark.parametrize("priority", [0, 3])
def test_an_unknown_priority_is_refused(make_request, family, priority):
    with pytest.raises(InvalidArgument, match=f"priority: got {priority}, expected an integer from 1 to 2"):
        make_request(priority=priority).check(family)


def test_more_controlnet_scales_than_controlnets_are_refused(make_request, family):
    with pytest.raises(InvalidArgument, match="controlnet_conditioning_scale: got 3 values"):
        make_request(controlnet_conditioning_scale=(0.5, 0.5, 0.5)).check(family)


def test_a_seed_out_of_range_is_refused(make_request, family):
    with pytest.raises(InvalidArgument, match="seed: got -1"):
        replace(make_request(), seed=-1).check(family)
