"""What every subject is asked to paint: the same pictures, noise and parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packshot import Composition, Cutout, Parameters, Placement, canny, compose
from packshot.family import Family

PROMPT, NEGATIVE_PROMPT = "a cup on a wooden table, picture {number}", "blurry"


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to paint.

    Attributes:
        composition: the product on its canvas.
        control_image: uint8 [H, W], its edges.
        prompt: differs from job to job, so that no cache answers it.
        negative_prompt: the same in all.
        latents: float32 [C, h, w], the noise to begin with, of unit variance.
        seed: its number.
        parameters: how to paint.
    """

    composition: Composition
    control_image: np.ndarray
    prompt: str
    negative_prompt: str
    latents: np.ndarray
    seed: int
    parameters: Parameters


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
    composition = compose(Placement(Cutout.from_mask(photo, mask)), (side, side))
    small = side // family.canvas.multiple
    return Job(
        composition,
        canny(composition.image, alpha=composition.alpha),
        PROMPT.format(number=seed),
        NEGATIVE_PROMPT,
        random.standard_normal((family.dims["C"], small, small), np.float32),
        seed,
        parameters,
    )
