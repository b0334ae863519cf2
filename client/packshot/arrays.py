"""Arrays inside frozen value objects, and how messages write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from packshot.errors import expected

#: Characters of a value in a message.
MAX_SHOWN = 120


def frozen(array: np.ndarray) -> np.ndarray:
    """A contiguous array that cannot be written to; copied where it is writable."""
    contiguous = np.ascontiguousarray(array)
    if contiguous.flags.writeable:
        contiguous = contiguous.copy()
        contiguous.flags.writeable = False
    return contiguous


def describe(array: object) -> str:
    """dtype and shape, the way error messages write them: ``uint8[512,500,3]``."""
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    return f"{array.dtype}{brackets(array.shape)}"


def shown(value: object) -> str:
    """A value the way error messages write it: arrays by dtype and shape, all else by a short repr."""
    if isinstance(value, np.ndarray):
        return describe(value)
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits.
        return f"a very long {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def brackets(shape: Sequence[object]) -> str:
    """``[512,500,3]``."""
    return f"[{','.join(map(str, shape))}]"


def check_uint8(what: str, array: object, *dims: int | str) -> np.ndarray:
    """Refuse an array that is not uint8 of these dims; a string stands for any length.

    Raises:
        InvalidArgument: naming what was got and what was expected.
    """
    fits = (
        isinstance(array, np.ndarray)
        and array.dtype == np.uint8
        and array.ndim == len(dims)
        and all(isinstance(dim, str) or dim == side for dim, side in zip(dims, array.shape, strict=True))
        and array.size > 0
    )
    if not isinstance(array, np.ndarray) or not fits:
        raise expected(what, describe(array), f"uint8{brackets(dims)}")
    return array
