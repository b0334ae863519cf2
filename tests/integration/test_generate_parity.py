"""The served path paints what diffusers paints, from the same weights and the same noise."""

from __future__ import annotations

import numpy as np
import pytest

from packshot.parameters import SCHEDULERS, Parameters
from tests.integration.generations import Generation, arrays, make_generation, parameter_arrays, text
from tests.integration.reference import Reference
from tests.integration.triton import Triton

PICTURE_TOLERANCE = 2  # of 255, anywhere
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


def assert_equal(served, reference: Reference, parameters: Parameters) -> None:
    generation = make_generation(parameters, width=96, height=64)
    latents, picture = reference.generate(generation)
    assert np.isfinite(latents).all()

    served_latents = denoise(served.triton, generation)
    assert np.abs(served_latents - latents).max() <= LATENTS_TOLERANCE * np.abs(latents).max()

    served_picture = served.triton.infer("generate", arrays(generation))["generated_image"]
    assert picture.shape == served_picture.shape == (64, 96, 3)
    assert np.abs(served_picture.astype(int) - picture).max() <= PICTURE_TOLERANCE


def test_odd_latent_sizes(served, reference):
    """104×72 pixels are 13×9 latents, which do not halve evenly.

    Small on purpose: at 264×200 these random networks amplify rounding until torch's own fp32 is 1.7e-3
    from its fp64 after seven guided steps.
    """
    generation = make_generation(Parameters(7), width=104, height=72)
    latents, picture = reference.generate(generation)
    assert (
        np.abs(denoise(served.triton, generation) - latents).max()
        <= LATENTS_TOLERANCE * np.abs(latents).max()
    )
    served_picture = served.triton.infer("generate", arrays(generation))["generated_image"]
    assert np.abs(served_picture.astype(int) - picture).max() <= PICTURE_TOLERANCE


def test_the_reference_would_notice(reference):
    """What the parity tests vary does change the picture, so they cannot pass by its being ignored."""
    pictures = [
        reference.generate(make_generation(parameters))[1].astype(int)
        for parameters in (
            Parameters(7),
            Parameters(7, guidance_scale=1.0),
            Parameters(7, controlnet_conditioning_scale=0.0),
            Parameters(7, scheduler="ddim"),
            Parameters(7, controlnet_conditioning_scale=0.5, control_guidance_end=0.5),
        )
    ]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).max() > 2 * PICTURE_TOLERANCE


def denoise(triton: Triton, generation: Generation) -> np.ndarray:
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
            **parameter_arrays(generation.parameters),
        },
    )["latents"]
