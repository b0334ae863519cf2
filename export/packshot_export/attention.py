"""Attention as one node of a graph, for which runtimes have kernels that never write all its scores down.

``MultiHeadAttention`` is one of ONNX Runtime's own operators, which it computes in blocks, on processors and
with CUDA; OpenVINO and TensorRT-RTX know it, too. A graph brings its definition along, as a function of the
model, so that any other runtime can compute it. ONNX's ``Attention`` needs a newer opset, and all scores on
processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from onnx import parser
from onnxscript import ir
from torch import Tensor, nn

_DOMAIN, _OPERATOR = "com.microsoft", "MultiHeadAttention"
#: As torch computes it: queries and keys are scaled before they are multiplied, so that scores fit fp16. No
#: size is left to be guessed, which cannot be done for a batch of nothing.
_DEFINITION = """
<domain: "com.microsoft", opset_import: ["": {opset}]>
MultiHeadAttention <num_heads> (query, key, value) => (output) {{
    one = Constant <value_ints = [1]> ()
    number = Constant <value_int: int = @num_heads> ()
    heads = Reshape (number, one)
    joined_width = Shape <start = 2> (query)
    width = Div (joined_width, heads)
    as_they_are = Constant <value_ints = [0, 0]> ()
    split = Concat <axis = 0> (as_they_are, heads, width)
    joined = Shape (query)

    query_split = Reshape (query, split)
    key_split = Reshape (key, split)
    value_split = Reshape (value, split)
    queries = Transpose <perm = [0, 2, 1, 3]> (query_split)
    keys = Transpose <perm = [0, 2, 3, 1]> (key_split)
    values = Transpose <perm = [0, 2, 1, 3]> (value_split)

    exponent = Constant <value_float = -0.25> ()
    exact_width = CastLike (width, exponent)
    exact_scale = Pow (exact_width, exponent)
    scale = CastLike (exact_scale, query)
    queries_scaled = Mul (queries, scale)
    keys_scaled = Mul (keys, scale)
    scores = MatMul (queries_scaled, keys_scaled)
    weights = Softmax <axis = -1> (scores)
    mixed = MatMul (weights, values)
    rows = Transpose <perm = [0, 2, 1, 3]> (mixed)
    output = Reshape (rows, joined)
}}
"""


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


def define_attention(model: ir.Model) -> None:
    """Let a graph with such nodes say what they are."""
    if any(node.domain == _DOMAIN and node.op_type == _OPERATOR for node in model.graph):
        proto = parser.parse_function(_DEFINITION.format(opset=model.graph.opset_imports[""]))
        definition = ir.serde.deserialize_function(proto)
        model.functions[definition.identifier()] = definition
