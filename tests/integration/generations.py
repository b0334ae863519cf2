"""Generations as served inputs: shared by every test that calls ``generate`` or its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from packshot.parameters import PER_CONTROLNET, Parameters

#: How far pictures may be apart that ought to be the same: of 255, anywhere.
PICTURE_TOLERANCE = 2


@dataclass(frozen=True, slots=True)
class Generation:
    """One request, in the arrays that ``generate`` takes."""

    image: np.ndarray
    mask_image: np.ndarray
    control_image: np.ndarray
    latents: np.ndarray
    prompt: str = "a cup on a wooden table"
    negative_prompt: str = "blurry"
    parameters: Parameters = field(default_factory=Parameters)


def make_generation(
    parameters: Parameters, width: int = 96, height: int = 64, seed: int = 0, num_controlnets: int = 1
) -> Generation:
    """A canvas of random texture with a rectangular product and random edges."""
    random = np.random.default_rng(seed)
    mask = np.full((height, width), 255, np.uint8)
    mask[height // 4 : height // 2, width // 3 : width // 2] = 0
    return Generation(
        image=random.integers(0, 256, (height, width, 3), np.uint8),
        mask_image=mask,
        control_image=np.where(random.random((num_controlnets, height, width)) < 0.1, 255, 0).astype(
            np.uint8
        ),
        latents=random.standard_normal((4, height // 8, width // 8)).astype(np.float32),
        parameters=parameters,
    )


def text(value: str) -> np.ndarray:
    """A BYTES tensor of one element."""
    return np.array([value.encode()], np.object_)


def parameter_arrays(generation: Generation) -> dict[str, np.ndarray]:
    """The parameters as served tensors."""
    parameters, count = generation.parameters, len(generation.control_image)
    values = parameters.as_dict()
    values |= {name: parameters.per_controlnet(name, count) for name in PER_CONTROLNET}
    return {
        "num_inference_steps": np.array([values.pop("num_inference_steps")], np.int32),
        "scheduler": text(values.pop("scheduler")),
        **{name: np.array(value, np.float32).reshape(-1) for name, value in values.items()},
    }


def arrays(generation: Generation) -> dict[str, np.ndarray]:
    """The inputs of ``generate``."""
    return {
        "prompt": text(generation.prompt),
        "negative_prompt": text(generation.negative_prompt),
        "image": generation.image,
        "mask_image": generation.mask_image,
        "control_image": generation.control_image,
        "latents": generation.latents,
        **parameter_arrays(generation),
    }
