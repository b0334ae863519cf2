"""Inputs of a KServe request, checked against the contract."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.utils import np_to_triton_dtype

from packshot.arrays import brackets, describe
from packshot.contract import DTYPE_NAMES, Model, Tensor
from packshot.errors import expected


def infer_inputs(model: Model, arrays: Mapping[str, np.ndarray], dims: Mapping[str, int]) -> list[InferInput]:
    """Request tensors of a model, checked against the contract.

    Args:
        model: the model.
        arrays: inputs by name, without batch axis.
        dims: what the family binds.

    Raises:
        InvalidArgument: an input is missing, unknown, or of the wrong dtype or shape.
    """
    unknown = set(arrays) - {tensor.name for tensor in model.inputs}
    if unknown:
        known = ", ".join(tensor.name for tensor in model.inputs)
        raise expected(f"{model.name} inputs", ", ".join(sorted(unknown)), f"some of {known}")
    bound = {symbol: (size, "") for symbol, size in dims.items()}
    inputs = []
    for tensor in model.inputs:
        what = f"{model.name}.{tensor.name}"
        if tensor.name not in arrays:
            if not tensor.optional:
                raise expected(what, "nothing", _form(tensor, bound))
            continue
        array = arrays[tensor.name]
        _check(what, tensor, array, bound)
        inputs.append(InferInput(tensor.name, [1, *array.shape], tensor.dtype))
        inputs[-1].set_data_from_numpy(np.ascontiguousarray(array[None]))
    return inputs


def _check(what: str, tensor: Tensor, array: np.ndarray, bound: dict[str, tuple[int, str]]) -> None:
    """Compare with the contract; symbols that were free are bound to this array from now on."""
    fits = (
        isinstance(array, np.ndarray)
        and np_to_triton_dtype(array.dtype) == tensor.dtype
        and array.ndim == len(tensor.dims)
        and array.size > 0
    )
    sizes = list(zip(tensor.dims, array.shape, strict=True)) if fits else []
    like = ""
    for dim, size in sizes:
        wanted, source = (dim, "") if isinstance(dim, int) else bound.get(dim, (size, ""))
        if size != wanted:
            fits, like = False, like or source
    if not fits:
        suffix = f" like {like}" if like else ""
        raise expected(what, describe(array), _form(tensor, bound) + suffix)
    for dim, size in sizes:
        if isinstance(dim, str):
            bound.setdefault(dim, (size, tensor.name))


def _form(tensor: Tensor, bound: Mapping[str, tuple[int, str]]) -> str:
    shape = [bound[dim][0] if isinstance(dim, str) and dim in bound else dim for dim in tensor.dims]
    return f"{DTYPE_NAMES[tensor.dtype]}{brackets(shape)}"
