"""Weights that came in half precision stay so on disk.

Many checkpoints are published in fp16. An fp32 graph of theirs holds every weight with its lower bits zero:
twice the bytes for the same numbers. So such weights are stored as fp16 and widened by a ``Cast`` where they
are used, which ONNX Runtime carries out once, when it loads the graph. Not a bit of any answer changes.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

#: Elements below which nothing is gained.
_WORTHWHILE = 256


def store_in_half(graph: ir.Graph) -> None:
    """Store every fp32 initializer of a graph that is exact in fp16 as such."""
    first = graph[0]
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < _WORTHWHILE:
            continue
        halved = _exact_half(tensor.numpy())
        if halved is None:
            continue
        name = value.name
        stored = ir.Value(
            name=f"{name}.fp16",
            shape=ir.Shape(halved.shape),
            type=ir.TensorType(ir.DataType.FLOAT16),
            const_value=ir.tensor(halved, name=f"{name}.fp16"),
        )
        widen = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT})
        graph.insert_before(first, widen)
        ir.convenience.replace_all_uses_with(value, widen.outputs[0])
        del graph.initializers[name]
        widen.outputs[0].name, widen.outputs[0].shape = name, stored.shape
        widen.outputs[0].type = value.type
        graph.register_initializer(stored)


def _exact_half(weights: np.ndarray) -> np.ndarray | None:
    with np.errstate(over="ignore"):  # beyond fp16's range it is infinite, and not equal
        halved = weights.astype(np.float16)
    return halved if np.array_equal(halved.astype(np.float32), weights) else None
