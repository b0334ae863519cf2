"""What every subject is asked to paint: the same pictures, noise and parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.utils import np_to_triton_dtype

from packshot import Composition, Cutout, Parameters, Placement, canny, compose
from packshot.family import Family
from packshot.generation import parameter_arrays, prompt_arrays

PROMPT, NEGATIVE_PROMPT = "a cup on a wooden table, picture {number}", "blurry"


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to paint.

    Attributes:
        placement: the product, and where it stands.
        composition: the product on its canvas.
        control_image: uint8 [H, W], its edges.
        prompt: differs from job to job, so that no cache answers it.
        negative_prompt: the same in all.
        latents: float32 [C, h, w], the noise to begin with, of unit variance.
        seed: its number.
        parameters: how to paint.
    """

    placement: Placement
    composition: Composition
    control_image: np.ndarray
    prompt: str
    negative_prompt: str
    latents: np.ndarray
    seed: int
    parameters: Parameters

    def arrays(self, num_controlnets: int) -> dict[str, np.ndarray]:
        """The inputs of ``generate``, without batch axis; each ControlNet gets the same edges."""
        return {
            **prompt_arrays(self.prompt, self.negative_prompt),
            "image": self.composition.image,
            "mask_image": self.composition.mask_image,
            "control_image": np.repeat(self.control_image[None], num_controlnets, axis=0),
            "seed": np.array([self.seed], np.int64),
            "latents": self.latents,
            **parameter_arrays(self.parameters, num_controlnets),
        }

    def inputs(self, num_controlnets: int) -> list[InferInput]:
        """The same for tritonclient, each with a batch axis of 1."""
        inputs = []
        for name, array in self.arrays(num_controlnets).items():
            inputs.append(InferInput(name, [1, *array.shape], np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array[None])
        return inputs


def make_job(family: Family, side: int, parameters: Parameters, seed: int) -> Job:
    """A job that depends on its arguments alone.

    Args:
        family: whose latents the noise is for.
        side: of the square canvas, in pixels.
        parameters: how to paint.
        seed: of product, noise and prompt.
    """
    random = np.random.default_rng(seed)
    photo = random.integers(0, 256, (side, side, 3), np.uint8)
    mask = np.zeros((side, side), bool)
    mask[side // 4 : 3 * side // 4, side // 3 : 2 * side // 3] = True
    placement = Placement(Cutout.from_mask(photo, mask))
    composition = compose(placement, (side, side))
    small = side // family.canvas.multiple
    return Job(
        placement,
        composition,
        canny(composition.image, alpha=composition.alpha),
        PROMPT.format(number=seed),
        NEGATIVE_PROMPT,
        random.standard_normal((family.dims["C"], small, small), np.float32),
        seed,
        parameters,
    )
