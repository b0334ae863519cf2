"""What a generation is asked for besides pictures: checked, and as tensors."""

from __future__ import annotations

import secrets
import warnings

import numpy as np

from packshot.errors import PromptTruncatedWarning, expected
from packshot.parameters import MAX_SEED, Parameters, check_seed

MAX_NUM_IMAGES = 1000
#: Seeds that we draw are short enough to be read out and typed in again.
_DRAWN_SEEDS = 2**31


def parameter_arrays(parameters: Parameters, count: int) -> dict[str, np.ndarray]:
    """The parameters as tensors, without batch axis, for a family of ``count`` ControlNets."""
    per_controlnet = (
        "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end",
    )  # fmt: skip
    return {
        "num_inference_steps": np.array([parameters.num_inference_steps], np.int32),
        "guidance_scale": np.array([parameters.guidance_scale], np.float32),
        "scheduler": text(parameters.scheduler),
        **{
            name: np.array(parameters.per_controlnet(name, count), np.float32)
            for name in per_controlnet
        },
    }  # fmt: skip


def text(value: str) -> np.ndarray:
    """Text as a BYTES tensor of one element."""
    return np.array([value.encode()], np.object_)


def warn_truncated(counts: np.ndarray) -> None:
    """Warn of tokens that the text encoder did not read: int32 [2], prompt and negative prompt."""
    for what, count in zip(("prompt", "negative_prompt"), counts, strict=True):
        if count > 0:
            warnings.warn(
                PromptTruncatedWarning(f"{what}: the last {count} tokens did not fit and were not read"),
                stacklevel=2,
            )


def first_seed(seed: int | None, num_images: int) -> int:
    """The seed of the first of several pictures; drawn at random if there is none."""
    if isinstance(num_images, bool) or not isinstance(num_images, int) or num_images < 1:
        raise expected("num_images", repr(num_images), f"an integer from 1 to {MAX_NUM_IMAGES}")
    if num_images > MAX_NUM_IMAGES:
        raise expected("num_images", num_images, f"an integer from 1 to {MAX_NUM_IMAGES}")
    if seed is None:
        return secrets.randbelow(_DRAWN_SEEDS)
    if check_seed(seed) + num_images - 1 > MAX_SEED:
        raise expected("seed", f"{seed} for {num_images} images", f"the last one at most {MAX_SEED}")
    return seed


def check_text(what: str, text: object) -> None:
    """Refuse a prompt that is not text."""
    if not isinstance(text, str):
        raise expected(what, type(text).__name__, "text")
