"""The client from a photo to finished pictures, against a server that is not the real one."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import numpy as np
import pytest

from packshot import (
    AsyncStudio,
    InvalidArgument,
    Options,
    Placement,
    PromptTruncatedWarning,
    Shot,
    Studio,
    compose,
    read_made_by,
)
from tests.client.fake_triton import Status, paint_seed, slow
from tests.client.pictures import product, texture

CANVAS = (96, 64)


def place() -> Placement:
    return Placement(product(), y=0.5, scale=None)


def test_the_family_is_the_servers(studio):
    assert studio.family().name == "fake"
    assert studio.family().dims["S"] == 64


def test_image_i_has_the_seed_plus_i_and_the_real_product(studio):
    shots = studio.shoot(place(), CANVAS, "a cup", "blurry", num_images=3, seed=10, guidance_scale=2.0)
    assert [shot.seed for shot in shots] == [10, 11, 12]
    composition = compose(place(), CANVAS)
    for shot in shots:
        assert (shot.image[composition.alpha == 0] == shot.seed).all()
        inside = composition.alpha == 255
        np.testing.assert_array_equal(shot.image[inside], composition.foreground[inside])
        assert (shot.prompt, shot.negative_prompt, shot.family) == ("a cup", "blurry", "fake")
        assert shot.parameters.guidance_scale == 2.0
        assert set(shot.timings_s) == {"compose", "canny", "generate", "paste"}


def test_what_is_sent_is_the_composition_its_edges_and_every_parameter(studio, triton):
    studio.shoot(
        place(), CANVAS, "Kaffee für zwei", seed=5, num_inference_steps=7, guidance_scale=3.5, scheduler="ddim",
        controlnet_conditioning_scale=1.5, control_guidance_start=0.1, control_guidance_end=0.8,
    )  # fmt: skip
    (asked,) = triton.arrays("generate")
    composition = compose(place(), CANVAS)
    np.testing.assert_array_equal(asked["image"], composition.image)
    np.testing.assert_array_equal(asked["mask_image"], composition.mask_image)
    assert asked["control_image"].shape == (1, 64, 96)
    assert set(np.unique(asked["control_image"])) == {0, 255}
    assert asked["prompt"].item().decode() == "Kaffee für zwei"
    assert asked["negative_prompt"].item() == b""
    assert asked["scheduler"].item() == b"ddim"
    names = ("seed", "num_inference_steps", "guidance_scale", "controlnet_conditioning_scale")
    assert [asked[name].item() for name in names] == [5, 7, 3.5, 1.5]
    assert asked["control_guidance_start"].item() == pytest.approx(0.1)
    assert asked["control_guidance_end"].item() == pytest.approx(0.8)
    assert "latents" not in asked


def test_a_seed_is_drawn_and_told(studio):
    first, second = (studio.shoot(place(), CANVAS, "a cup")[0].seed for _ in range(2))
    assert first != second
    assert 0 <= first < 2**31


def test_a_control_image_may_be_given(studio, triton):
    edges = np.zeros((64, 96), np.uint8)
    edges[10] = 255
    studio.shoot(compose(place(), CANVAS), CANVAS, "a cup", control_image=edges)
    np.testing.assert_array_equal(triton.arrays("generate")[0]["control_image"][0], edges)


def test_progress_is_called_for_each_picture(studio):
    seen: list[tuple[int, int, Shot]] = []
    shots = studio.shoot(
        place(),
        CANVAS,
        "a cup",
        num_images=4,
        progress=lambda done, total, shot: seen.append((done, total, shot)),
    )
    assert [(done, total) for done, total, _ in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(shot.seed for _, _, shot in seen) == [shot.seed for shot in shots]


def test_no_more_requests_are_under_way_than_allowed(triton):
    triton.models["generate"] = slow(0.1, paint_seed)
    with Studio(triton.address, Options(max_in_flight=3)) as studio:
        assert len(studio.shoot(place(), CANVAS, "a cup", num_images=8)) == 8
    assert 2 <= triton.most_at_once <= 3


def test_the_first_picture_that_fails_ends_the_call(studio, triton):
    def second_fails(arrays):
        if arrays["seed"].item() == 1:
            raise Status(grpc.StatusCode.INVALID_ARGUMENT, "generate.seed: got 1, expected another")
        time.sleep(1)
        return paint_seed(arrays)

    triton.models["generate"] = second_fails
    began = time.monotonic()
    with pytest.raises(InvalidArgument, match=r"^generate\.seed: got 1, expected another$"):
        studio.shoot(place(), CANVAS, "a cup", num_images=3, seed=0)
    assert time.monotonic() - began < 0.9
    assert triton.cancelled.wait(5)


def test_a_prompt_that_is_too_long_is_told_once(studio, triton):
    triton.models["generate"] = lambda arrays: {
        **paint_seed(arrays), "num_truncated_tokens": np.array([12, 0], np.int32)
    }  # fmt: skip
    with pytest.warns(PromptTruncatedWarning, match="prompt: the last 12 tokens did not fit") as warned:
        studio.shoot(place(), CANVAS, "word " * 90, num_images=3)
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"canvas": (100, 64)}, "canvas: got 100x64, expected sides from 64 to 256, multiples of 8"),
        ({"canvas": (512, 64)}, "canvas: got 512x64"),
        ({"num_images": 0}, "num_images: got 0, expected an integer from 1 to 1000"),
        ({"num_images": 1001}, "num_images: got 1001"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": 2**63 - 1, "num_images": 2}, "seed: got 9223372036854775807 for 2 images"),
        ({"num_inference_steps": 0}, "num_inference_steps: got 0"),
        (
            {"num_inference_steps": 10_000},
            "num_inference_steps: got 10000, expected an integer from 1 to 200",
        ),
        ({"guidance_scale": float("nan")}, "guidance_scale: got nan"),
        ({"scheduler": "magic"}, "scheduler: got 'magic', expected one of dpmpp_2m"),
        (
            {"controlnet_conditioning_scale": (0.5, 0.5)},
            r"controlnet_conditioning_scale: got 2 values, expected 1 \(one for each ControlNet\) or a plain",
        ),
        ({"prompt": None}, "prompt: got NoneType, expected text"),
        ({"prompt": "\ud800"}, r"prompt: got the lone surrogate '\\ud800', expected text in Unicode"),
        ({"negative_prompt": 7}, "negative_prompt: got int, expected text"),
        ({"placements": []}, "placements: got none"),
        (
            {"placements": product()},
            r"placements: got Cutout, expected a Placement, such as Placement\(cutout\)",
        ),
        ({"placements": None}, "placements: got NoneType, expected a Placement"),
        ({"canvas": None}, "canvas: got None, expected width and height"),
        ({"canvas": 64}, "canvas: got 64, expected width and height"),
        ({"placements": compose(place(), CANVAS), "canvas": None}, "canvas: got None"),
        (
            {"control_image": np.zeros((64, 64), np.uint8)},
            r"generate_stream\.control_image: got uint8\[1,64,64\], expected uint8\[1,64,96\] like image",
        ),
        ({"placements": compose(place(), (64, 64))}, r"canvas: got \(96, 64\), expected \(64, 64\) like"),
    ],
)
def test_a_wrong_shoot_never_reaches_the_server(studio, triton, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        studio.shoot(**{"placements": place(), "canvas": CANVAS, "prompt": "a cup", **arguments})
    assert triton.calls == []


def test_an_unknown_keyword_is_a_type_error_that_names_it_and_the_known(studio):
    with pytest.raises(
        TypeError, match=r"shoot\(\) got an unexpected keyword 'foo', expected some of num_inf"
    ):
        studio.shoot(place(), CANVAS, "a cup", foo=1)


def test_numpys_numbers_are_as_good_as_pythons(studio, triton):
    (shot,) = studio.shoot(
        place(), np.array(CANVAS), "a cup", num_images=np.int64(1), seed=np.uint8(7),
        num_inference_steps=np.int32(3), guidance_scale=np.float32(2.5),
    )  # fmt: skip
    (asked,) = triton.arrays("generate")
    assert (asked["num_inference_steps"].item(), asked["guidance_scale"].item()) == (3, 2.5)
    assert (type(shot.seed), shot.seed, shot.to_pil().size) == (int, 7, CANVAS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": None}, "prompt: got NoneType, expected text"),
        ({"prompt": "\udfff"}, "prompt: got the lone surrogate"),
        ({"parameters": 7.5}, "parameters: got float, expected Parameters"),
        ({"seed": 1.5}, "seed: got 1.5, expected an integer from 0"),
        ({"image": None}, r"generate_stream\.image: got NoneType, expected uint8\[H,W,3\]"),
    ],
)
def test_a_wrong_generation_never_reaches_the_server(studio, triton, arguments, message):
    edges = np.zeros((64, 96), np.uint8)
    known = {"image": np.dstack([edges] * 3), "mask_image": edges, "control_image": edges, "prompt": "a cup"}
    with pytest.raises(InvalidArgument, match=message):
        studio.generate(**{**known, **arguments})
    assert triton.calls == []


def test_latents_may_be_brought_along(studio, triton):
    composition = compose(place(), CANVAS)
    latents = np.random.default_rng(0).standard_normal((4, 8, 12)).astype(np.float32)
    edges = np.zeros((1, 64, 96), np.uint8)
    picture = studio.generate(
        composition.image, composition.mask_image, edges, "a cup", seed=9, latents=latents
    )
    assert (picture == 9).all(), "nothing is pasted back"
    np.testing.assert_array_equal(triton.arrays("generate")[0]["latents"], latents)


def test_a_png_carries_how_it_was_made(studio, tmp_path):
    (shot,) = studio.shoot(place(), CANVAS, "Tasse – für „zwei“", seed=3, scheduler="euler")
    shot.save(tmp_path / "shot.png")
    made_by = read_made_by(tmp_path / "shot.png")
    assert made_by == shot.made_by()
    assert made_by["prompt"] == "Tasse – für „zwei“"
    assert (made_by["seed"], made_by["scheduler"], made_by["family"]) == (3, "euler", "fake")
    assert shot.to_pil().size == CANVAS


def test_the_asyncio_client_is_the_same(triton):
    async def run() -> tuple[list[Shot], list[Shot]]:
        async with AsyncStudio(triton.address) as studio:
            await studio.cut_out(texture(64, 64), points=[(5, 5)])
            return await asyncio.gather(
                studio.shoot(place(), CANVAS, "a cup", seed=1), studio.shoot(place(), CANVAS, "a cup", seed=2)
            )

    first, second = asyncio.run(run())
    assert [first[0].seed, second[0].seed] == [1, 2]


def test_cancelling_a_call_cancels_it_at_the_server(triton):
    triton.models["generate"] = slow(1, paint_seed)

    async def run() -> None:
        async with AsyncStudio(triton.address) as studio:
            call = asyncio.create_task(studio.shoot(place(), CANVAS, "a cup", num_images=20))
            await asyncio.sleep(0.4)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(run())
    assert triton.cancelled.wait(5)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_what_a_progress_callback_raises_reaches_the_caller(studio, error):
    def stop(done: int, total: int, shot: Shot) -> None:
        raise error("enough")

    with pytest.raises(error, match="enough"):
        studio.shoot(place(), CANVAS, "a cup", num_images=3, progress=stop)
    assert len(studio.shoot(place(), CANVAS, "a cup")) == 1, "the studio is still usable"


@pytest.mark.parametrize("call", ["close", "family"])
def test_a_callback_that_calls_its_studio_is_told_so_instead_of_waiting_for_itself(studio, call):
    def callback(done: int, total: int, shot: Shot) -> None:
        getattr(studio, call)()

    with pytest.raises(InvalidArgument, match="studio: got a call by one of its own callbacks"):
        studio.shoot(place(), CANVAS, "a cup", progress=callback)
    assert len(studio.shoot(place(), CANVAS, "a cup")) == 1


def test_several_threads_may_share_a_studio(studio):
    seeds: list[int] = []
    threads = [
        threading.Thread(
            target=lambda seed=seed: seeds.append(studio.shoot(place(), CANVAS, "a", seed=seed)[0].seed)
        )
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seeds) == [0, 1, 2, 3]


def test_every_step_is_reported_with_the_seed_of_its_picture(studio):
    reports = []
    studio.shoot(place(), CANVAS, "a cup", num_images=2, seed=5, on_step=reports.append)
    assert {report.seed for report in reports} == {5, 6}
    assert [(r.step, r.num_steps, r.preview_image) for r in reports if r.seed == 5] == [
        (0, 2, None),
        (1, 2, None),
    ]


def test_a_preview_interval_out_of_range_never_reaches_the_server(studio, triton):
    with pytest.raises(InvalidArgument, match="preview_interval: got -1"):
        studio.shoot(place(), CANVAS, "a cup", preview_interval=-1)
    assert not triton.calls


def test_what_a_report_s_reader_raises_ends_the_call(studio):
    def read(report):
        raise LookupError("not today")

    with pytest.raises(LookupError, match="not today"):
        studio.shoot(place(), CANVAS, "a cup", on_step=read)
