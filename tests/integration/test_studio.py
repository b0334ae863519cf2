"""The client against a real server: what a caller of the Python API sees."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import coffee

from packshot import (
    AsyncStudio,
    Cutout,
    DeadlineExceeded,
    InvalidArgument,
    Options,
    Parameters,
    Placement,
    PromptTruncatedWarning,
    Studio,
    Unavailable,
    compose,
    read_made_by,
)
from packshot_serving.launcher import TritonServer
from tests.families import exported
from tests.integration.generations import arrays, make_generation
from tests.integration.processes import descendants

BOX = (74, 14, 484, 390)
CANVAS = (128, 96)


@pytest.fixture(scope="module")
def studio(tiny):
    with Studio(tiny.server.grpc_address) as studio:
        yield studio


@pytest.fixture(scope="module")
def cup():
    """An ellipse of the coffee photo: tiny families cannot segment, and need not here."""
    mask = cv2.ellipse(np.zeros((400, 600), np.uint8), (300, 200), (60, 40), 0, 0, 360, (1,), -1)
    return Cutout.from_mask(coffee(), mask.astype(bool))


def inside(composition) -> np.ndarray:
    return cv2.erode((composition.alpha == 255).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def test_a_cut_out_has_the_photos_resolution_and_pixels(studio):
    cutout = studio.cut_out(coffee(), boxes=[BOX])
    assert cutout.image.shape == (400, 600, 3)
    assert np.array_equal(cutout.rgba[..., :3][cutout.mask], coffee()[cutout.mask])
    assert all(cutout.iou >= other.iou for other in cutout.alternatives)


def test_below_strength_1_the_client_hands_the_picture_over(studio, tiny):
    generation = make_generation(Parameters(6, strength=0.5))
    picture = studio.generate(
        generation.image, generation.mask_image, generation.control_image, generation.prompt,
        generation.negative_prompt, parameters=generation.parameters, latents=generation.latents,
    )  # fmt: skip
    no_mask = {"image": generation.image, "mask_image": np.zeros_like(generation.mask_image)}
    start = {"image_latents": tiny.triton.infer("vae_encoder", no_mask)["masked_image_latents"]}
    by_hand = tiny.triton.infer("generate", {**arrays(generation), **start})["generated_image"]
    np.testing.assert_array_equal(picture, by_hand)


def test_several_prompts_on_a_photo_encode_it_once(tiny, studio):
    photo = np.ascontiguousarray(coffee()[:, ::-1])
    before = tiny.triton.executions("sam_encoder"), tiny.triton.executions("sam_decoder")
    studio.cut_out(photo, points=[(200, 200)])
    studio.cut_out(photo, points=[(200, 200), (10, 10)], labels=[1, 0])
    studio.cut_out(photo, boxes=[(50, 50, 200, 200), (250, 100, 500, 300)])
    assert tiny.triton.executions("sam_encoder") == before[0] + 1
    assert tiny.triton.executions("sam_decoder") == before[1] + 4


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "CMYK"])
def test_every_kind_of_photo_can_be_cut_out(studio, tmp_path, mode):
    path = tmp_path / ("photo.tif" if mode in ("I;16", "CMYK") else "photo.png")
    if mode == "I;16":
        Image.fromarray(coffee()[..., 0].astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(coffee()).convert(mode).save(path)
    assert studio.cut_out(path, boxes=[BOX]).image.shape == (400, 600, 3)


def test_a_turned_phone_photo_is_cut_out_upright(studio, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    Image.fromarray(coffee()).save(tmp_path / "phone.jpg", exif=exif)
    assert studio.cut_out(tmp_path / "phone.jpg", points=[(200, 300)]).image.shape == (600, 400, 3)


def test_the_products_own_pixels_are_in_the_picture(studio, cup):
    """One to one: the photo's pixels themselves."""
    composition = compose(Placement(cup, scale=None), CANVAS)
    (shot,) = studio.shoot(composition, CANVAS, "a beach", num_inference_steps=2, seed=5)
    opaque = cup.alpha == 255
    assert opaque.sum() > 5000
    # Nothing is resampled and nothing hangs over, so the opaque pixels correspond one by one.
    assert np.array_equal(shot.image[composition.alpha == 255], cup.image[opaque])


@pytest.mark.parametrize("rotation_degree", [0, 30])
def test_a_scaled_and_turned_product_is_the_compositions(studio, cup, rotation_degree):
    composition = compose(Placement(cup, scale=0.6, rotation_degree=rotation_degree), CANVAS)
    (shot,) = studio.shoot(composition, CANVAS, "a beach", num_inference_steps=2, seed=5)
    assert inside(composition).sum() > 200
    assert np.array_equal(shot.image[inside(composition)], composition.image[inside(composition)])
    outside = composition.alpha == 0
    assert np.abs(shot.image[outside].astype(int) - composition.image[outside]).max() > 20


def test_shots_carry_their_seeds_and_parameters(studio, cup, tmp_path):
    told = []
    shots = studio.shoot(
        Placement(cup), CANVAS, "a beach", "people", num_images=3, seed=2**40, scheduler="euler",
        num_inference_steps=2, progress=lambda done, total, shot: told.append((done, total, shot.seed)),
    )  # fmt: skip
    assert [shot.seed for shot in shots] == [2**40, 2**40 + 1, 2**40 + 2]
    assert sorted(done for done, _, _ in told) == [1, 2, 3]
    assert len({shot.image.tobytes() for shot in shots}) == 3
    shots[1].save(tmp_path / "shot.png")
    made_by = read_made_by(tmp_path / "shot.png")
    assert (made_by["seed"], made_by["prompt"], made_by["scheduler"]) == (2**40 + 1, "a beach", "euler")
    again = studio.shoot(
        Placement(cup), CANVAS, "a beach", "people", seed=2**40 + 1, scheduler="euler", num_inference_steps=2
    )
    assert np.abs(again[0].image.astype(int) - shots[1].image).max() <= 1


def test_a_long_prompt_warns(studio, cup):
    with pytest.warns(PromptTruncatedWarning, match="prompt"):
        studio.shoot(Placement(cup), CANVAS, "cup " * 200, num_inference_steps=1)


def test_a_wrong_canvas_is_refused_with_the_servers_range(studio, cup):
    with pytest.raises(InvalidArgument, match="got 100x96, expected sides from 64 to 1024, multiples of 8"):
        studio.shoot(Placement(cup), (100, 96), "a beach")


def test_a_deadline_is_kept(tiny):
    generation = make_generation(Parameters(200), 512, 512)
    with Studio(tiny.server.grpc_address, Options(timeout_s=0.5)) as hasty:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.5 s"):
            hasty.generate(
                generation.image, generation.mask_image, generation.control_image, "a beach",
                parameters=generation.parameters,
            )  # fmt: skip
    assert time.monotonic() - began < 5


def test_the_asyncio_client_does_several_things_at_once(tiny, cup):
    async def main():
        async with AsyncStudio(tiny.server.grpc_address) as studio:
            return await asyncio.gather(
                studio.cut_out(coffee(), boxes=[BOX]),
                studio.shoot(Placement(cup), CANVAS, "a beach", num_images=2, seed=1, num_inference_steps=2),
            )

    cutout, shots = asyncio.run(main())
    assert cutout.mask.any()
    assert [shot.seed for shot in shots] == [1, 2]


def test_a_server_that_dies_during_a_call_is_a_clear_error():
    generation = make_generation(Parameters(200), 512, 512)
    with TritonServer(exported("tiny-sd2")[1]) as server:
        with Studio(server.grpc_address, Options(max_retries=1)) as studio:
            studio.family()
            (tritonserver, *_) = descendants(server.pid)
            killer = threading.Timer(1.0, os.kill, (tritonserver, signal.SIGKILL))
            killer.start()
            with pytest.raises(Unavailable, match=r"no server answers there|went away"):
                studio.generate(
                    generation.image, generation.mask_image, generation.control_image, "a beach",
                    parameters=generation.parameters,
                )  # fmt: skip
            killer.join()
        server.wait()
        server.remove_log()
