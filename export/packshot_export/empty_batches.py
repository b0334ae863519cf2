"""Makes graphs run with a batch of nothing, so that a step without ControlNet rows costs nothing.

A reshape that leaves one size to be inferred (−1) has no answer when there are no elements: ONNX
Runtime refuses it. The exporter writes such reshapes for attention heads and for GroupNorm; none of
them needs to guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnxscript import ir
from onnxscript.ir.passes.common import RemoveUnusedNodesPass

_INFERRED = -1
_AS_IN_THE_INPUT = 0


def allow_empty_batches(model: ir.Model) -> None:
    """Spell out the sizes in every reshape that keeps its batch and guesses another axis."""
    graph = model.graph
    for node in list(graph):
        if node.op_type != "Reshape":
            continue
        sizes = _known_sizes(node)
        if sizes is not None:
            _set_sizes(graph, node, sizes)
        elif _splits_groups(node):
            _keep_pixel_axes(graph, node)
    RemoveUnusedNodesPass()(model)


def _known_sizes(node: ir.Node) -> list[int] | None:
    """The reshape as constants, where every axis is a number or the same as in the input."""
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if before is None or after is None:
        return None
    sizes = []
    for axis, size in enumerate(after):
        if isinstance(size, int):
            sizes.append(size)
        elif size.value is not None and axis < len(before) and before[axis] == size:
            sizes.append(_AS_IN_THE_INPUT)
        else:
            return None
    return sizes


def _splits_groups(node: ir.Node) -> bool:
    """Whether this is GroupNorm's ``[N, C, h, w] → [N, G, the rest]``, made for InstanceNorm."""
    sizes = node.inputs[1].const_value
    consumers = {use.node.op_type for use in node.outputs[0].uses()}
    return (
        sizes is not None
        and sizes.size == 3
        and sizes.numpy().tolist()[::2] == [_AS_IN_THE_INPUT, _INFERRED]
        and consumers == {"InstanceNormalization"}
    )


def _keep_pixel_axes(graph: ir.Graph, node: ir.Node) -> None:
    """``[N, G, the rest]`` becomes ``[N, G, C/G, h, w]``, which is the same to InstanceNorm."""
    pixels = ir.node("Shape", [node.inputs[0]], {"start": 2})
    groups = node.inputs[1].const_value.numpy()[1]
    channels = node.inputs[0].shape[1]
    front = _constant(graph, f"{node.outputs[0].name}_groups", [_AS_IN_THE_INPUT, groups, channels // groups])
    sizes = ir.node("Concat", [front, pixels.outputs[0]], {"axis": 0})
    graph.insert_before(node, [pixels, sizes])
    node.replace_input_with(1, sizes.outputs[0])
    for value in (node.outputs[0], *(use.node.outputs[0] for use in node.outputs[0].uses())):
        value.shape = None


def _set_sizes(graph: ir.Graph, node: ir.Node, sizes: Sequence[int]) -> None:
    node.replace_input_with(1, _constant(graph, f"{node.outputs[0].name}_sizes", sizes))
    node.attributes["allowzero"] = ir.AttrInt64("allowzero", 0)


def _constant(graph: ir.Graph, name: str, numbers: Sequence[int]) -> ir.Value:
    tensor = ir.tensor(np.array(numbers, np.int64), name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
