"""Attention as one node of a graph, for which runtimes have kernels that never write all its scores down.

``MultiHeadAttention`` is one of ONNX Runtime's own operators, which it computes in blocks, on processors and
with CUDA, and which OpenVINO knows. ONNX's ``Attention`` needs a newer opset, and all scores on processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from onnx import helper, numpy_helper
from torch import Tensor, nn

_DOMAIN, _OPERATOR = "com.microsoft", "MultiHeadAttention"


@contextmanager
def fused_attention(module: nn.Module) -> Iterator[None]:
    """For as long as it lasts, a traced module's attention becomes one node each; it cannot be run then."""
    plain = [part for part in module.modules() if isinstance(part, Attention) and _is_plain(part)]
    processors = [part.processor for part in plain]
    try:
        for part in plain:
            part.set_processor(_OneNode())
        yield
    finally:
        for part, processor in zip(plain, processors, strict=True):
            part.set_processor(processor)


def _is_plain(part: Attention) -> bool:
    extras = (part.spatial_norm, part.norm_q, part.norm_k, part.norm_cross)
    return isinstance(part.processor, AttnProcessor2_0) and not any(extras)


class _OneNode:
    """What ``AttnProcessor2_0`` does."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        if attention_mask is not None:
            raise NotImplementedError("attention with a mask")
        hidden = hidden_states if hidden_states.ndim == 3 else hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden = attn.group_norm(hidden.transpose(1, 2)).transpose(1, 2)
        context = hidden if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden), attn.to_k(context), attn.to_v(context)
        attended = torch.onnx.ops.symbolic(
            f"{_DOMAIN}::{_OPERATOR}",
            (query, key, value),
            {"num_heads": attn.heads},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
        output = attn.to_out[0](attended)  # what follows it is dropout
        if hidden_states.ndim == 4:
            output = output.transpose(1, 2).reshape(hidden_states.shape)
        if attn.residual_connection:
            output = output + hidden_states
        return output / attn.rescale_output_factor


def write_spelled_out(graph: Path, target: Path) -> bool:
    """Write a graph file again without such nodes, if it has any.

    Args:
        target: beside whatever lies beside the graph: large weights are found from there.

    Returns:
        Whether there was any.
    """
    model = onnx.load(graph, load_external_data=False)
    found = spell_out(model)
    if found:
        onnx.save(model, target)
    return found


def spell_out(model: onnx.ModelProto) -> bool:
    """Write attention as products and a softmax again: for TensorRT, and to look at the numbers inside.

    Queries and keys are scaled before they are multiplied, as torch does it, so that scores fit fp16.

    Returns:
        Whether there was any.
    """
    graph = model.graph
    types = {value.name: value.type.tensor_type for value in graph.value_info}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.domain == _DOMAIN and node.op_type == _OPERATOR:
            _spell_out(graph, node, types[node.input[0]])
        else:
            graph.node.append(node)
    others = [opset for opset in model.opset_import if opset.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(others)
    return len(graph.node) > len(nodes)


def _spell_out(graph: onnx.GraphProto, node: onnx.NodeProto, query: onnx.TypeProto.Tensor) -> None:
    (heads,) = (attribute.i for attribute in node.attribute if attribute.name == "num_heads")
    width, name = query.shape.dim[2].dim_value, node.output[0]
    size, dtype = width // heads, helper.tensor_dtype_to_np_dtype(query.elem_type)
    for constant, value in (
        ("split", np.array([0, 0, heads, size])),
        ("joined", np.array([0, 0, width])),
        ("scale", np.array(size**-0.25, dtype)),
    ):
        graph.initializer.append(numpy_helper.from_array(value, f"{name}/{constant}"))

    def add(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
        graph.value_info.append(helper.make_tensor_value_info(output, query.elem_type, None))
        return output

    def by_heads(tensor: str, called: str, axes: list[int]) -> str:
        split = add("Reshape", [tensor, f"{name}/split"], f"{name}/{called}_split")
        return add("Transpose", [split], f"{name}/{called}", perm=axes)

    def scaled(tensor: str) -> str:
        return add("Mul", [tensor, f"{name}/scale"], f"{tensor}_scaled")

    queries = scaled(by_heads(node.input[0], "query", [0, 2, 1, 3]))
    keys = scaled(by_heads(node.input[1], "key", [0, 2, 3, 1]))
    values = by_heads(node.input[2], "value", [0, 2, 1, 3])
    scores = add("MatMul", [queries, keys], f"{name}/scores")
    weights = add("Softmax", [scores], f"{name}/weights", axis=-1)
    mixed = add("MatMul", [weights, values], f"{name}/mixed")
    rows = add("Transpose", [mixed], f"{name}/rows", perm=[0, 2, 1, 3])
    graph.node.append(helper.make_node("Reshape", [rows, f"{name}/joined"], [name]))
