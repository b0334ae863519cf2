"""The served path paints what diffusers paints, from the same weights and the same noise."""

from __future__ import annotations

import numpy as np
import pytest

from packshot.parameters import SCHEDULERS, Parameters
from tests.integration.generations import (
    PICTURE_TOLERANCE,
    Generation,
    arrays,
    make_generation,
    parameter_arrays,
    text,
)
from tests.integration.reference import Reference
from tests.integration.triton import Triton

LATENTS_TOLERANCE = 1e-3  # of the largest latent

CONTROL = {  # scale and window
    "control-off": {"controlnet_conditioning_scale": 0.0},
    "control-half-window": {
        "controlnet_conditioning_scale": 0.5,
        "control_guidance_start": 0.2,
        "control_guidance_end": 0.7,
    },
    "control-full": {"controlnet_conditioning_scale": 1.0},
}


@pytest.fixture(scope="module")
def reference(served):
    return Reference(served.checkpoints)


@pytest.mark.parametrize("control", CONTROL)
@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
@pytest.mark.parametrize("num_inference_steps", [1, 7, 25])
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "ddim", "euler"])
def test_latents_and_picture(served, reference, scheduler, num_inference_steps, guidance_scale, control):
    assert_equal(
        served,
        reference,
        Parameters(num_inference_steps, guidance_scale, scheduler=scheduler, **CONTROL[control]),
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler(served, reference, scheduler):
    assert_equal(served, reference, Parameters(9, 5.0, scheduler=scheduler, **CONTROL["control-half-window"]))


@pytest.mark.parametrize("strength", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("scheduler", ["ddim", "dpmpp_2m", "euler", "euler_ancestral", "unipc", "pndm"])
def test_starting_from_the_picture(served, reference, scheduler, strength):
    """ControlNet windows and guidance_end are shares of the steps that are left."""
    assert_equal(
        served,
        reference,
        Parameters(
            10,
            5.0,
            scheduler=scheduler,
            strength=strength,
            guidance_end=0.7,
            **CONTROL["control-half-window"],
        ),
    )


@pytest.mark.parametrize("guidance_end", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "pndm"])
def test_guidance_that_ends_early(served, reference, scheduler, guidance_end):
    assert_equal(served, reference, Parameters(7, 7.5, scheduler=scheduler, guidance_end=guidance_end))


def assert_equal(served, reference: Reference, parameters: Parameters) -> None:
    generation = make_generation(parameters, 96, 64, num_controlnets=served.family.dims["K"])
    latents, picture = reference.generate(generation)
    assert np.isfinite(latents).all()
    start = start_picture(served.triton, generation)

    served_latents = denoise(served.triton, generation, start)
    assert np.abs(served_latents - latents).max() <= LATENTS_TOLERANCE * np.abs(latents).max()

    served_picture = served.triton.infer("generate", {**arrays(generation), **start})["generated_image"]
    assert picture.shape == served_picture.shape == (64, 96, 3)
    assert np.abs(served_picture.astype(int) - picture).max() <= PICTURE_TOLERANCE


def test_odd_latent_sizes(served, reference):
    """104×72 pixels are 13×9 latents, which do not halve evenly.

    Small on purpose: at 264×200 these random networks amplify rounding until torch's own fp32 is 1.7e-3
    from its fp64 after seven guided steps.
    """
    generation = make_generation(Parameters(7), 104, 72, num_controlnets=served.family.dims["K"])
    latents, picture = reference.generate(generation)
    served_latents = denoise(served.triton, generation, {})
    assert np.abs(served_latents - latents).max() <= LATENTS_TOLERANCE * np.abs(latents).max()
    served_picture = served.triton.infer("generate", arrays(generation))["generated_image"]
    assert np.abs(served_picture.astype(int) - picture).max() <= PICTURE_TOLERANCE


def test_each_controlnet_has_a_scale_a_window_and_an_image_of_its_own(served, reference):
    count = served.family.dims["K"]
    how = Parameters(
        8,
        controlnet_conditioning_scale=(0.7, 1.0)[:count],
        control_guidance_start=(0.0, 0.4)[:count],
        control_guidance_end=(0.6, 1.0)[:count],
    )
    assert_equal(served, reference, how)


def test_the_reference_would_notice(served, reference):
    """What the parity tests vary does change the picture, so they cannot pass by its being ignored."""
    pictures = [
        reference.generate(make_generation(parameters, num_controlnets=served.family.dims["K"]))[1].astype(
            int
        )
        for parameters in (
            Parameters(7),
            Parameters(7, guidance_scale=1.0),
            Parameters(7, controlnet_conditioning_scale=0.0),
            Parameters(7, scheduler="ddim"),
            Parameters(7, controlnet_conditioning_scale=0.5, control_guidance_end=0.5),
            Parameters(7, guidance_end=0.5),
            Parameters(7, strength=0.9),
            Parameters(7, strength=0.6),
        )
    ]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).max() > 2 * PICTURE_TOLERANCE


def start_picture(triton: Triton, generation: Generation) -> dict[str, np.ndarray]:
    """``image_latents`` where the parameters call for them."""
    if generation.parameters.strength == 1:
        return {}
    no_mask = np.zeros_like(generation.mask_image)
    encoded = triton.infer("vae_encoder", {"image": generation.image, "mask_image": no_mask})
    return {"image_latents": encoded["masked_image_latents"]}


def denoise(triton: Triton, generation: Generation, start: dict[str, np.ndarray]) -> np.ndarray:
    """The steps of ``generate`` one by one, up to the latents, which it does not return."""
    ids = triton.infer(
        "tokenizer",
        {"prompt": text(generation.prompt), "negative_prompt": text(generation.negative_prompt)},
    )
    embeds = [
        triton.infer("text_encoder", {"input_ids": ids[name]})["prompt_embeds"]
        for name in ("input_ids", "negative_input_ids")
    ]
    encoded = triton.infer("vae_encoder", {"image": generation.image, "mask_image": generation.mask_image})
    return triton.infer(
        "denoiser",
        {
            "prompt_embeds": embeds[0],
            "negative_prompt_embeds": embeds[1],
            **encoded,
            "control_image": generation.control_image,
            "latents": generation.latents,
            **start,
            **parameter_arrays(generation),
        },
    )["latents"]
