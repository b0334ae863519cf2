"""Arrays inside frozen value objects, and how messages write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from packshot.errors import expected


def frozen(array: np.ndarray) -> np.ndarray:
    """A contiguous array that cannot be written to; copied only where the caller could still write."""
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
