"""Reads and checks what callers send, as numpy arrays.

Arrays come without their batch axis, BYTES as ``object`` arrays. Every function raises
:class:`packshot.errors.InvalidArgument`, before any work is queued.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from packshot.arrays import brackets, describe
from packshot.contract import (
    DTYPE_NAMES,
    LABEL_BOX_BOTTOM_RIGHT,
    LABEL_BOX_TOP_LEFT,
    LABEL_FOREGROUND,
    LABEL_IGNORE,
    LABEL_NOT_A_POINT,
    MASK_THRESHOLD,
    MAX_POINTS,
    MODELS,
    PARAMETER_NAMES,
    Tensor,
)
from packshot.errors import InvalidArgument, expected
from packshot.family import Family
from packshot.parameters import INTERACTIVE, PER_CONTROLNET, Parameters, check_priority, check_seed
from packshot_serving.engine.request import asked_schedule, check_picture

Arrays = Mapping[str, np.ndarray]

#: Bytes of a prompt; far more than any text encoder reads, little enough to tokenize at once.
MAX_PROMPT_BYTES = 100_000
#: Latents have about unit variance; far beyond it the networks overflow.
MAX_LATENT = 1000.0
_LATENTS = {"latents": "noise of unit variance", "image_latents": "a picture in the scale of the UNet"}


def read_parameters(arrays: Arrays, family: Family) -> Parameters:
    """Parameters from their tensors; what is left out is what suits the family."""
    values = {}
    for name in PARAMETER_NAMES:
        if name not in arrays:
            continue
        array = arrays[name]
        if name == "scheduler":
            values[name] = read_text(arrays, name)
        elif name in PER_CONTROLNET:
            values[name] = tuple(map(_number, array))
        elif array.dtype.kind == "f":
            values[name] = _number(array[0])
        else:
            values[name] = array.item()
    return family.parameters(values)


def _number(value: np.float32) -> float:
    """The shortest decimal that is this float32: the caller wrote 0.7, not 0.699999988."""
    return float(str(value))


def read_seed(arrays: Arrays) -> int:
    """The seed; 0 if left out."""
    return check_seed(arrays["seed"].item()) if "seed" in arrays else 0


def read_priority(arrays: Arrays) -> int:
    """The priority, which decides among the denoiser's requests; interactive if left out."""
    return check_priority(arrays["priority"].item()) if "priority" in arrays else INTERACTIVE


def read_text(arrays: Arrays, name: str) -> str:
    """A BYTES tensor of one element as text; empty if left out."""
    if name not in arrays:
        return ""
    raw: bytes = arrays[name].item()
    if len(raw) > MAX_PROMPT_BYTES:
        raise expected(name, f"{len(raw)} bytes", f"at most {MAX_PROMPT_BYTES}")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise expected(name, f"bytes that are not UTF-8 ({error.reason})", "UTF-8 text") from None


def check_generate(arrays: Arrays, family: Family) -> None:
    """Refuse a generation that cannot be right: sizes, mask, latents, parameters, seed, priority, prompt."""
    _require("generate", "check_inputs", arrays)
    image, mask = arrays["image"], arrays["mask_image"]
    height, width = image.shape[:2]
    family.canvas.check(width, height, "generate.image")
    _like_image("mask_image", mask, (height, width))
    _like_image("control_image", arrays["control_image"], (family.dims["K"], height, width))
    factor = family.canvas.multiple
    for name, meaning in _LATENTS.items():
        if name in arrays:
            shape = (family.dims["C"], height // factor, width // factor)
            check_latents(arrays[name], shape, f"generate.{name}", meaning)
    repaint = mask >= MASK_THRESHOLD
    if not repaint.any():
        raise expected("generate.mask_image", "nothing to repaint", f"some pixels ≥ {MASK_THRESHOLD}")
    if repaint.all():
        raise expected("generate.mask_image", "no product to keep", f"some pixels < {MASK_THRESHOLD}")
    parameters = read_parameters(arrays, family)
    check_picture(parameters, arrays.get("image_latents"))
    asked_schedule(family, parameters.scheduler, parameters.num_inference_steps, parameters.strength)
    read_seed(arrays)
    read_priority(arrays)
    read_text(arrays, "prompt")
    read_text(arrays, "negative_prompt")


def check_latents(latents: np.ndarray, shape: tuple[int, ...], what: str, meaning: str) -> None:
    """Refuse latents of another shape, with NaN or infinity among them, or far beyond their meaning."""
    if latents.shape != shape:
        raise expected(what, describe(latents), f"float32{brackets(shape)}")
    if not np.isfinite(latents).all():
        raise expected(what, "NaN or infinity", "finite numbers")
    if np.abs(latents).max() > MAX_LATENT:
        raise expected(what, f"values up to {np.abs(latents).max():g}", meaning)


def check_prompts(arrays: Arrays, family: Family) -> None:
    """Refuse a SAM prompt that cannot be right: no points or too many, unknown labels, outside the photo."""
    _require("segment", "check_prompts", arrays)
    side = family.dims["S"]
    size, coords, labels = (arrays[tensor.name] for tensor in MODELS["check_prompts"].inputs)
    height, width = (int(value) for value in size)
    if min(height, width) < 1 or max(height, width) != side:
        raise expected("segment.reshaped_input_size", f"[{height}, {width}]", f"the longer side {side}")
    if len(coords) > MAX_POINTS:
        raise expected("segment.point_coords", f"{len(coords)} points", f"at most {MAX_POINTS}")
    if len(coords) != len(labels):
        raise expected("segment.point_labels", describe(labels), f"int64[{len(coords)}] like point_coords")
    prompts = labels >= 0
    if not (labels >= LABEL_FOREGROUND).any():
        raise expected("segment.point_labels", labels.tolist(), "at least one point on the product or a box")
    known = range(LABEL_BOX_BOTTOM_RIGHT + 1)
    if not np.isin(labels, [*known, LABEL_NOT_A_POINT, LABEL_IGNORE]).all():
        raise expected("segment.point_labels", labels.tolist(), "labels 0, 1, 2, 3, −1 or −10")
    top_left, bottom_right = (
        coords[labels == label] for label in (LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT)
    )
    if len(top_left) != len(bottom_right):
        raise expected("segment.point_labels", labels.tolist(), "both corners of each box")
    inside = coords[prompts]
    # NaN fails every comparison, so it is refused here too.
    if not ((inside >= 0) & (inside <= (width, height))).all():
        raise expected("segment.point_coords", inside.tolist(), f"points inside {width}x{height}")
    if not (top_left < bottom_right).all():
        corners = [top_left.tolist(), bottom_right.tolist()]
        raise expected("segment.point_coords", f"box corners {corners}", "top left, then bottom right")


def _require(ensemble: str, check: str, arrays: Arrays) -> None:
    """Refuse a request that leaves out what the ensemble needs and its check sees."""
    seen = {tensor.name for tensor in MODELS[check].inputs}
    for tensor in MODELS[ensemble].inputs:
        if tensor.name in seen and not tensor.optional and tensor.name not in arrays:
            raise missing(ensemble, tensor)


def missing(model: str, tensor: Tensor) -> InvalidArgument:
    """What a caller is told who has left a tensor out."""
    return expected(
        f"{model}.{tensor.name}", "nothing", f"{DTYPE_NAMES[tensor.dtype]}{brackets(tensor.dims)}"
    )


def _like_image(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise expected(f"generate.{name}", describe(array), f"uint8{brackets(shape)} like image")
