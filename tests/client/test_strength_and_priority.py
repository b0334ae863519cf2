"""What strength, guidance_end and priority make the client send."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from packshot import Composition, InvalidArgument, Parameters, Placement, compose, read_made_by
from tests.client.fake_triton import Status
from tests.client.pictures import product

CANVAS = (96, 64)
EDGES = np.zeros((64, 96), np.uint8)


@pytest.fixture
def composition() -> Composition:
    return compose(Placement(product(), y=0.5, scale=None), CANVAS)


def pixels(composition: Composition) -> np.ndarray:
    """What the fake encoder makes of the whole picture, nothing masked."""
    bare = np.dstack([composition.image, EDGES])
    return np.moveaxis(bare[::8, ::8].astype(np.float32), -1, 0)


def test_several_pictures_start_from_one_that_is_encoded_once_without_a_mask(studio, triton, composition):
    shots = studio.shoot(composition, CANVAS, "a cup", num_images=3, seed=1, strength=0.6)
    assert [shot.seed for shot in shots] == [1, 2, 3]
    assert [name for name, _ in triton.calls] == ["vae_encoder"] + ["generate"] * 3
    for asked in triton.arrays("generate"):
        assert asked["strength"].item() == pytest.approx(0.6)
        np.testing.assert_array_equal(asked["image_latents"], pixels(composition))
    assert set(shots[0].timings_s) == {"compose", "canny", "encode", "generate", "paste"}


def test_a_single_generation_encodes_its_picture_too(studio, triton, composition):
    how = Parameters(strength=0.5)
    studio.generate(composition.image, composition.mask_image, EDGES, "a cup", parameters=how)
    (asked,) = triton.arrays("generate")
    np.testing.assert_array_equal(asked["image_latents"], pixels(composition))


def test_at_strength_1_nothing_is_encoded(studio, triton, composition):
    studio.shoot(composition, CANVAS, "a cup", strength=1)
    studio.generate(composition.image, composition.mask_image, EDGES, "a cup")
    assert [name for name, _ in triton.calls] == ["generate"] * 2
    assert all("image_latents" not in asked for asked in triton.arrays("generate"))


def test_an_encoder_that_refuses_ends_the_call(studio, triton, composition):
    def refuse(_):
        raise Status(grpc.StatusCode.INVALID_ARGUMENT, "not this one")

    triton.models["vae_encoder"] = refuse
    with pytest.raises(InvalidArgument, match="not this one"):
        studio.shoot(composition, CANVAS, "a cup", num_images=2, strength=0.5)
    assert triton.arrays("generate") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control_image": EDGES[:8]}, r"generate\.control_image: got uint8\[1,8,96\]"),
        ({"mask_image": EDGES[:8]}, r"generate\.mask_image: got uint8\[8,96\]"),
        ({"image": None}, r"generate\.image: got NoneType"),
        ({"latents": np.zeros((4, 8, 12))}, r"generate\.latents: got float64"),
        (
            {"image": np.zeros((60, 96, 3), np.uint8), "mask_image": EDGES[:60], "control_image": EDGES[:60]},
            r"generate\.image: got 96x60, expected sides from 64 to 256",
        ),
    ],
)
def test_what_generate_would_refuse_is_not_encoded_first(studio, triton, composition, changes, message):
    good = {"image": composition.image, "mask_image": composition.mask_image, "control_image": EDGES}
    with pytest.raises(InvalidArgument, match=message):
        studio.generate(**{**good, "prompt": "a cup", **changes}, parameters=Parameters(strength=0.5))
    assert triton.calls == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strength": 0}, "strength: got 0, expected a number above 0, up to 1"),
        ({"strength": 1.5}, "strength: got 1.5, expected a number above 0, up to 1"),
        (
            {"strength": 0.09, "num_inference_steps": 10},
            "strength: got 0.09, expected at least 1/10: else none",
        ),
        ({"guidance_end": -0.1}, "guidance_end: got -0.1, expected a number from 0 to 1"),
        ({"guidance_end": (0.5,)}, r"guidance_end: got \(0.5,\), expected a number from 0 to 1"),
        ({"priority": 0}, "priority: got 0, expected an integer from 1 to 2"),
        ({"priority": True}, "priority: got True"),
    ],
)
def test_wrong_ones_never_reach_the_server(studio, triton, composition, fields, message):
    with pytest.raises(InvalidArgument, match=message):
        studio.shoot(composition, CANVAS, "a cup", **fields)
    assert triton.calls == []


def test_the_least_strength_leaves_one_step():
    assert Parameters(10, strength=0.1).strength == 0.1


def test_a_picture_tells_its_strength_and_guidance_end(studio, triton, composition, tmp_path):
    (shot,) = studio.shoot(composition, CANVAS, "a cup", strength=0.75, guidance_end=0.4, priority=2)
    (asked,) = triton.arrays("generate")
    assert asked["guidance_end"].item() == pytest.approx(0.4)
    shot.save(tmp_path / "shot.png")
    made_by = read_made_by(tmp_path / "shot.png")
    assert (made_by["strength"], made_by["guidance_end"]) == (0.75, 0.4)
    assert "priority" not in made_by, "it changes nothing about the picture"


def test_a_priority_is_told_to_the_denoiser(studio, triton, composition):
    pictures = (composition.image, composition.mask_image, EDGES)
    studio.shoot(composition, CANVAS, "a cup", num_images=2, priority=2)
    studio.generate(*pictures, "a cup", priority=np.int64(2))
    studio.shoot(composition, CANVAS, "a cup")
    studio.generate(*pictures, "a cup")
    assert [asked["priority"].item() for asked in triton.arrays("generate")] == [2, 2, 2, 1, 1]
