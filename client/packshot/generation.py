"""What a generation is asked for besides pictures: checked, and as tensors."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot.arrays import shown
from packshot.checks import integer
from packshot.errors import PromptTruncatedWarning, expected
from packshot.parameters import MAX_SEED, PER_CONTROLNET, Parameters, check_seed

MAX_NUM_IMAGES = 1000
#: Seeds that we draw are short enough to be read out and typed in again.
_DRAWN_SEEDS = 2**31
#: Fields with one number that is not an integer.
_PLAIN_NUMBERS = ("guidance_scale", "guidance_end", "strength")


def parameter_arrays(parameters: Parameters, count: int) -> dict[str, np.ndarray]:
    """The parameters as tensors, without batch axis, for a family of ``count`` ControlNets."""
    return {
        "num_inference_steps": np.array([parameters.num_inference_steps], np.int32),
        **{name: np.array([getattr(parameters, name)], np.float32) for name in _PLAIN_NUMBERS},
        "scheduler": text("scheduler", parameters.scheduler),
        **{
            name: np.array(parameters.per_controlnet(name, count), np.float32)
            for name in PER_CONTROLNET
        },
    }  # fmt: skip


def generate_arrays(
    image: np.ndarray,
    mask_image: np.ndarray,
    control_image: np.ndarray,
    texts: Mapping[str, np.ndarray],
    parameters: Parameters,
    priority: int,
    count: int,
) -> dict[str, np.ndarray]:
    """The inputs of ``generate`` that pictures share which differ in their noise alone.

    Args:
        image: uint8 [H, W, 3].
        mask_image: uint8 [H, W].
        control_image: uint8 [H, W], the same for every ControlNet, or [K, H, W].
        texts: see :func:`prompt_arrays`.
        parameters: how to paint.
        priority: 1 or 2.
        count: K, the family's ControlNets.

    Returns:
        Arrays without batch axis; of the pictures, nothing is checked yet.
    """
    if isinstance(control_image, np.ndarray) and control_image.ndim == 2:
        control_image = np.repeat(control_image[None], count, axis=0)
    return {
        **texts,
        "image": image,
        "mask_image": mask_image,
        "control_image": control_image,
        "priority": np.array([priority], np.int32),
        **parameter_arrays(parameters, count),
    }


def check_settings(fields: Mapping[str, Any]) -> None:
    """Refuse keywords of ``shoot`` that no family could follow, before anybody is asked.

    Raises:
        TypeError: one of them is unknown, as for any call in Python.
        InvalidArgument: see :class:`packshot.Parameters`.
    """
    known = Parameters.__dataclass_fields__
    for name in fields:
        if name not in known:
            raise TypeError(
                f"shoot() got an unexpected keyword {name!r}, expected some of {', '.join(known)}"
            )
    Parameters(**fields)


def prompt_arrays(prompt: str, negative_prompt: str) -> dict[str, np.ndarray]:
    """Both prompts as tensors, without batch axis.

    Raises:
        InvalidArgument: one is not text.
    """
    return {"prompt": text("prompt", prompt), "negative_prompt": text("negative_prompt", negative_prompt)}


def text(what: str, value: object) -> np.ndarray:
    """Text as a BYTES tensor of one element.

    Raises:
        InvalidArgument: it is not text, or text that UTF-8 cannot write.
    """
    if not isinstance(value, str):
        raise expected(what, type(value).__name__, "text")
    try:
        return np.array([value.encode()], np.object_)
    except UnicodeEncodeError as error:
        raise expected(what, f"the lone surrogate {shown(value[error.start])}", "text in Unicode") from None


def warn_truncated(counts: tuple[int, int]) -> None:
    """Warn of tokens that the text encoder did not read, of the prompt and the negative prompt."""
    for what, count in zip(("prompt", "negative_prompt"), counts, strict=True):
        if count > 0:
            warnings.warn(
                PromptTruncatedWarning(f"{what}: the last {count} tokens did not fit and were not read"),
                stacklevel=2,
            )


def image_seeds(seed: int | None, num_images: int) -> range:
    """The seeds of several pictures; the first is drawn at random if there is none.

    Raises:
        InvalidArgument: the number of pictures or one of the seeds is out of its range.
    """
    count = integer("num_images", num_images, 1, MAX_NUM_IMAGES)
    first = secrets.randbelow(_DRAWN_SEEDS) if seed is None else check_seed(seed)
    if first + count - 1 > MAX_SEED:
        raise expected("seed", f"{first} for {count} images", f"the last one at most {MAX_SEED}")
    return range(first, first + count)
