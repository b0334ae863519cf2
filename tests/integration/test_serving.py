"""What the server makes of right and wrong requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from packshot.parameters import Parameters
from tests.integration.generations import arrays, make_generation, text
from tests.integration.metrics import figures
from tests.integration.triton import Triton
from tests.waiting import until


def test_what_is_left_out_has_its_default(tiny):
    """Any KServe client may send the bare minimum."""
    full = arrays(make_generation(Parameters()))
    bare = {name: full[name] for name in ("prompt", "image", "mask_image", "control_image")}
    answer = tiny.triton.infer("generate", bare)
    explicit = {name: array for name, array in full.items() if name != "latents"}
    explicit |= {"negative_prompt": text(""), "seed": np.array([0], np.int64)}
    same = tiny.triton.infer("generate", explicit)
    assert np.array_equal(answer["generated_image"], same["generated_image"])


def test_the_seed_decides_the_noise(tiny):
    request = arrays(make_generation(Parameters(2)))
    del request["latents"]
    first, again, other = (
        tiny.triton.infer("generate", {**request, "seed": np.array([seed], np.int64)})["generated_image"]
        for seed in (2**40, 2**40, 2**40 + 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_long_prompt_is_cut_and_counted(tiny):
    request = arrays(make_generation(Parameters(1)))
    assert tiny.triton.infer("generate", request)["num_truncated_tokens"].tolist() == [0, 0]
    request["prompt"] = text("cup " * 200)
    assert tiny.triton.infer("generate", request)["num_truncated_tokens"][0] > 100


WRONG = {
    "dtype": ({"image": np.zeros((64, 96, 3), np.float32)}, "expects 'UINT8'"),
    "rank": ({"image": np.zeros((64, 96), np.uint8)}, "unexpected shape for input 'image'"),
    "mask of another size": ({"mask_image": np.zeros((64, 64), np.uint8)}, "generate.mask_image: got uint8[64,64], expected uint8[64,96] like image"),
    "control image of another size": ({"control_image": np.zeros((1, 64, 64), np.uint8)}, "generate.control_image: got uint8[1,64,64]"),
    "empty mask": ({"mask_image": np.zeros((64, 96), np.uint8)}, "generate.mask_image: got nothing to repaint"),
    "full mask": ({"mask_image": np.full((64, 96), 255, np.uint8)}, "generate.mask_image: got no product to keep"),
    "no steps": ({"num_inference_steps": np.array([0], np.int32)}, "num_inference_steps: got 0, expected an integer from 1 to 200"),
    "too many steps": ({"num_inference_steps": np.array([10_000], np.int32)}, "num_inference_steps: got 10000"),
    "NaN guidance": ({"guidance_scale": np.array([np.nan], np.float32)}, "guidance_scale: got nan"),
    "unknown scheduler": ({"scheduler": text("plms")}, "scheduler: got 'plms', expected one of"),
    "no step left": ({"strength": np.array([0.5], np.float32)}, "strength: got 0.5, expected at least 1/1: else none of the steps is left"),
    "no picture to start from": ({"num_inference_steps": np.array([2], np.int32), "strength": np.array([0.5], np.float32)}, "image_latents: got nothing at strength 0.5"),
    "unknown priority": ({"priority": np.array([3], np.int32)}, "priority: got 3, expected an integer from 1 to 2"),
    "NaN latents": ({"latents": np.full((4, 8, 12), np.nan, np.float32)}, "generate.latents: got NaN or infinity"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_refused_before_any_work(tiny, changes, message):
    before = {model: tiny.triton.executions(model) for model in ("vae_encoder", "text_encoder", "denoiser")}
    with pytest.raises(InferenceServerException) as refused:
        tiny.triton.infer("generate", {**arrays(make_generation(Parameters(1))), **changes})
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert message in refused.value.message()
    assert "Traceback" not in refused.value.message()
    assert {model: tiny.triton.executions(model) for model in before} == before


@pytest.mark.parametrize(("width", "height"), [(100, 64), (56, 64), (64, 1032)])
def test_an_illegal_canvas_is_refused(tiny, width, height):
    canvas = make_generation(Parameters(1), width, height)
    request = arrays(replace(canvas, latents=np.zeros((4, 8, 8), np.float32)))
    with pytest.raises(
        InferenceServerException, match=f"got {width}x{height}, expected sides from 64 to 1024"
    ):
        tiny.triton.infer("generate", request)


def test_a_wrong_prompt_for_sam_is_refused_before_the_encoder(tiny):
    side = tiny.family.dims["S"]
    before = tiny.triton.executions("sam_encoder")
    with pytest.raises(InferenceServerException, match="expected points inside") as refused:
        tiny.triton.infer(
            "segment",
            {
                "image": np.full((side, side, 3), 123, np.uint8),
                "reshaped_input_size": np.array([side // 2, side], np.int64),
                "point_coords": np.array([[side / 2, side - 1], [0, 0]], np.float32),
                "point_labels": np.array([1, -1], np.int64),
            },
        )
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert tiny.triton.executions("sam_encoder") == before


@pytest.mark.parametrize("name", ["prompt", "image", "mask_image", "control_image"])
def test_what_is_missing_is_named(tiny, name):
    request = arrays(make_generation(Parameters(1)))
    del request[name]
    with pytest.raises(InferenceServerException, match=f"generate.{name}: got nothing, expected") as refused:
        tiny.triton.infer("generate", request)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_missing_prompt_for_sam_is_named(tiny):
    side = tiny.family.dims["S"]
    request = {"image": np.zeros((side, side, 3), np.uint8), "reshaped_input_size": np.array([side, side])}
    with pytest.raises(InferenceServerException, match=r"segment\.point_coords: got nothing, expected"):
        tiny.triton.infer("segment", request)


def test_a_request_that_fails_in_a_batch_costs_no_other_its_answer(tiny):
    """Token ids are not looked at before the text encoder, if somebody asks it alone.

    All differ: Triton's cache would answer a failure's repetition with nothing.
    """
    tokens = tiny.family.dims["T"]

    def ask(number: int) -> str:
        ids = np.full(tokens, number + 10**6 * (number % 3 > 0), np.int64)
        try:
            answer = Triton(tiny.server.grpc_address).infer("text_encoder", {"input_ids": ids})
        except InferenceServerException as error:
            return error.message()
        return str(np.isfinite(answer["prompt_embeds"]).all())

    with ThreadPoolExecutor(12) as callers:
        told = list(callers.map(ask, range(96)))
    assert set(told[::3]) == {"True"}
    failed = "text_encoder: failed; the server's log has the reason"
    assert set(told) == {"True", failed}


def test_the_denoiser_refuses_what_its_own_callers_get_wrong(tiny):
    """It can be called without ``generate`` in front of it."""
    dims = tiny.family.dims
    request = {
        "prompt_embeds": np.zeros((dims["T"], dims["D"]), np.float32),
        "negative_prompt_embeds": np.zeros((dims["T"], dims["D"]), np.float32),
        "masked_image_latents": np.zeros((4, 8, 8), np.float32),
        "mask_latents": np.zeros((1, 8, 12), np.float32),
        "control_image": np.zeros((1, 64, 64), np.uint8),
    }
    with pytest.raises(InferenceServerException, match="mask_latents: got") as refused:
        tiny.triton.infer("denoiser", request)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_the_denoisers_figures_are_on_tritons_metrics_endpoint(tiny):
    before = figures(tiny)
    half = Parameters(6, control_guidance_end=0.5)
    tiny.triton.infer("generate", arrays(make_generation(half)))
    done = 'packshot_denoiser_requests_total{outcome="done"}'
    until(lambda: figures(tiny)[done] > before[done])
    after = figures(tiny)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["packshot_denoiser_steps_total"] == 6
    assert grown["packshot_denoiser_rows_total"] == 12
    assert grown["packshot_denoiser_control_rows_total"] == 6
    assert grown["packshot_denoiser_padding_rows_total"] == 0
    assert grown["packshot_denoiser_admissions_total"] == 1
    assert grown['packshot_denoiser_requests_total{outcome="done"}'] == 1
    assert grown["packshot_denoiser_step_seconds_total"] > 0
