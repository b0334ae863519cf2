"""Axes of the graphs, read off the contract: which are dynamic, and how large examples are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.export import Dim

from packshot.contract import Dtype, Graph, Tensor
from packshot.family import Canvas

_TORCH_DTYPES: dict[Dtype, torch.dtype] = {
    "UINT8": torch.uint8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP32": torch.float32,
}
#: Pixels of the canvas and the latents they become.
_PIXELS = {"H": "h", "W": "w"}
#: Sizes of the example that is traced. All differ, so that no two axes can be taken for one; the latents
#: are odd, so that no size is a multiple of what a UNet halves.
TRACED_SIZES = {"B": 2, "R": 4, "P": 3, "m": 2, "N": 5, "h": 11, "w": 9}


def shape(tensor: Tensor, dims: Mapping[str, int], sizes: Mapping[str, int], factor: int) -> tuple[int, ...]:
    """A tensor's shape.

    Args:
        dims: what the family binds.
        sizes: of the free axes; ``H`` and ``W`` follow from ``h`` and ``w``.
        factor: pixels of a latent's side.
    """
    known = {
        **dims,
        **sizes,
        **{pixel: factor * sizes[side] for pixel, side in _PIXELS.items() if side in sizes},
    }
    return tuple(axis if isinstance(axis, int) else known[axis] for axis in tensor.dims)


def random_inputs(
    graph: Graph, dims: Mapping[str, int], sizes: Mapping[str, int], factor: int, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Inputs of the contract's shapes and dtypes: uniform bytes, normal floats, zero integers.

    They are on the CPU, whatever device torch would take by default, and so always the same.
    """
    generator = torch.Generator().manual_seed(seed)
    random: dict[str, Any] = {"generator": generator, "device": "cpu"}
    inputs = {}
    for tensor in graph.inputs:
        dtype, size = _TORCH_DTYPES[tensor.dtype], shape(tensor, dims, sizes, factor)
        if tensor.dtype == "FP32":
            inputs[tensor.name] = torch.randn(size, **random)
        else:
            high = 256 if tensor.dtype == "UINT8" else 1
            inputs[tensor.name] = torch.randint(0, high, size, dtype=dtype, **random)
    return inputs


def dynamic_shapes(graph: Graph, dims: Mapping[str, int], canvas: Canvas) -> dict[str, dict[int, Dim]]:
    """For every input, its dynamic axes in the form of ``torch.export``."""
    sides = {"min": canvas.min_side // canvas.multiple, "max": canvas.max_side // canvas.multiple}
    known: dict[str, Dim] = {}
    for side in _PIXELS.values():
        known[side] = Dim(side, **sides)
    for pixel, side in _PIXELS.items():
        known[pixel] = canvas.multiple * known[side]

    # P may be 0 as well. A trace holds for that only if nothing in it divides by a size, which
    # empty_batches sees to and the parity cases prove.
    def axis(symbol: str) -> Dim:
        return known.setdefault(symbol, Dim(symbol, min=1, max=1024))

    return {
        tensor.name: {
            position: axis(symbol)
            for position, symbol in enumerate(tensor.dims)
            if isinstance(symbol, str) and symbol not in dims
        }
        for tensor in graph.inputs
    }
