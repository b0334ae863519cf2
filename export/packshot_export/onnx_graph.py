"""From a torch module to an ONNX file that says what the contract says."""

from __future__ import annotations

import functools
import logging
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers.models.upsampling import Upsample2D
from onnxscript import ir
from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn
from torch.nn import functional

from packshot.contract import Graph
from packshot.errors import ExportError
from packshot.family import Canvas
from packshot_export.attention import define_attention, fused_attention
from packshot_export.axes import dynamic_shapes
from packshot_export.empty_batches import allow_empty_batches
from packshot_export.half_weights import store_in_half

#: Protocol buffers end at 2 GiB; weights beyond this go into a file of their own.
_LARGEST_SINGLE_FILE = 1_900_000_000


def write_graph(
    module: nn.Module,
    example: Mapping[str, Tensor],
    graph: Graph,
    dims: Mapping[str, int],
    canvas: Canvas,
    path: Path,
) -> None:
    """Trace a module and write it with the contract's names, dtypes and axes.

    Args:
        module: takes the graph's inputs by name and returns its outputs by name.
        example: inputs to trace with.
        path: the file to write; weights of more than 2 GiB go to ``<path>.data`` beside it.

    Raises:
        ExportError: the module has layers that torch cannot trace.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet(), torch.no_grad(), _unconditional_upsampling(module), fused_attention(module):
            program = torch.onnx.export(
                module,
                kwargs=dict(example),
                dynamo=True,
                verbose=False,
                input_names=[tensor.name for tensor in graph.inputs],
                output_names=[tensor.name for tensor in graph.outputs],
                dynamic_shapes=dynamic_shapes(graph, dims, canvas),
            )
    except torch.onnx.OnnxExporterError as error:
        # Torch's own text is advice to whoever wrote the model, and so is the end of its cause's.
        cause = error.__cause__ or error
        what = textwrap.shorten(f"{type(cause).__name__}: {cause}", 300, placeholder=" …")
        raise ExportError(f"{graph.name}: layers of this checkpoint cannot be exported: {what}") from error
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    allow_empty_batches(program.model)
    _name_axes(program.model.graph, graph, dims)
    store_in_half(program.model.graph)
    # Every node carries the stack that made it: megabytes, and the paths of this machine.
    ClearMetadataAndDocStringPass()(program.model)
    define_attention(program.model)
    size = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    program.save(path, external_data=size > _LARGEST_SINGLE_FILE)


def _name_axes(onnx_graph: ir.Graph, graph: Graph, dims: Mapping[str, int]) -> None:
    """Call free axes what the contract calls them; torch writes formulas such as ``8*h``."""
    for values, tensors in ((onnx_graph.inputs, graph.inputs), (onnx_graph.outputs, graph.outputs)):
        for value, tensor in zip(values, tensors, strict=True):
            value.shape = ir.Shape([dims.get(axis, axis) for axis in tensor.dims])


def _upsample(
    module: Upsample2D, hidden_states: Tensor, output_size: tuple[int, ...] | None = None
) -> Tensor:
    if output_size is None:
        hidden_states = functional.interpolate(hidden_states, scale_factor=2.0, mode="nearest")
    else:
        hidden_states = functional.interpolate(hidden_states, size=output_size, mode="nearest")
    conv = module.conv if module.name == "conv" else module.Conv2d_0
    return conv(hidden_states) if module.use_conv else hidden_states


@contextmanager
def _unconditional_upsampling(module: nn.Module) -> Iterator[None]:
    """diffusers' upsampling asks for batch and element counts, to evade bugs of old CUDA kernels.

    A traced graph would be limited to the answers that the example gives.
    """
    plain = [
        part
        for part in module.modules()
        if isinstance(part, Upsample2D)
        and part.norm is None
        and part.interpolate
        and not part.use_conv_transpose
    ]
    for part in plain:
        part.forward = functools.partial(_upsample, part)
    try:
        yield
    finally:
        for part in plain:
            del part.forward


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says about itself. Errors are exceptions, which this lets pass."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")  # "no torchvision": none needed
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # The contract's names are given to the axes afterwards.
            warnings.filterwarnings("ignore", "# The axis name", UserWarning)
            warnings.filterwarnings(
                "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
            )
            yield
    finally:
        logger.setLevel(level)
