"""A finished picture and how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from PIL import Image

from packshot.arrays import check_uint8, frozen
from packshot.parameters import Parameters
from packshot.png import save_png


class ParameterFields(TypedDict, total=False):
    """The fields of :class:`packshot.Parameters` as keywords.

    Those left out are what suits the family, see :class:`packshot.Family`, or keep their defaults.
    """

    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: float | tuple[float, ...]
    control_guidance_start: float | tuple[float, ...]
    control_guidance_end: float | tuple[float, ...]
    scheduler: str
    guidance_end: float
    strength: float


@dataclass(frozen=True, slots=True)
class Shot:
    """One generated picture with the real product in it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        seed: of the noise it began from.
        prompt: what was asked for.
        negative_prompt: what was to be avoided.
        parameters: everything else that was asked for.
        family: name of the family of checkpoints that painted it.
        timings_s: seconds by stage: ``compose``, ``canny`` and, at strength < 1, ``encode`` (once for
            all pictures of a call), ``generate`` (waiting and retries included), ``paste``.
        num_truncated_tokens: of the prompt and the negative prompt, what did not fit and was not read.
    """

    image: np.ndarray
    seed: int
    prompt: str
    negative_prompt: str
    parameters: Parameters
    family: str
    timings_s: Mapping[str, float]
    num_truncated_tokens: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        check_uint8("shot.image", self.image, "H", "W", 3)
        object.__setattr__(self, "image", frozen(self.image))

    def made_by(self) -> dict[str, Any]:
        """How to make it again, as plain JSON values; every PNG carries it."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "seed": self.seed,
            **self.parameters.as_dict(),
            "family": self.family,
        }

    def to_pil(self) -> Image.Image:
        """The picture as a PIL image of mode RGB."""
        return Image.fromarray(self.image)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG that carries :meth:`made_by`, see :mod:`packshot.png`."""
        save_png(path, self.image, self.made_by())
