"""How near the numbers inside an fp16 graph come to the end of fp16.

ONNX Runtime's CPU kernels compute much of an fp16 graph in fp32 and may keep what lies between two nodes
there, too. So a graph whose numbers leave the range of fp16 can be right on a CPU and answer NaN on a GPU.
Here every fp16 tensor between the nodes is looked at itself, inside of attention, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.inliner import inline_local_functions
from onnx.shape_inference import infer_shapes

from packshot.contract import GRAPHS
from packshot.errors import ExportError
from packshot_export.cases import Case

LARGEST_FP16 = 65504.0
#: The cases are not the worst that there is, so this factor has to be left.
MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class Headroom:
    """The greatest magnitude in any fp16 tensor of a graph, and which tensor it is."""

    tensor: str
    greatest: float


def check(name: str, path: Path, cases: Iterable[Case]) -> Headroom:
    """Find the greatest fp16 number that a graph computes on some cases.

    Args:
        path: of the graph; a file is written beside it for the time of the call.

    Raises:
        ExportError: it is more than half of what fp16 can hold.
    """
    found = measure(name, path, cases)
    if not found.greatest <= LARGEST_FP16 / MARGIN:
        raise ExportError(
            f"{name}: got magnitudes to {found.greatest:.3g} in {found.tensor}, expected at most "
            f"{LARGEST_FP16 / MARGIN:.0f} in fp16, half of its range; export it with --precision fp32"
        )
    return found


def measure(name: str, path: Path, cases: Iterable[Case]) -> Headroom:
    """The same without judging it."""
    watching = path.with_name(f"{path.stem}.headroom.onnx")  # beside it: large weights are found from there
    try:
        tensors = _write_watching(path, watching)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # As the nodes stand, each tensor is looked at before it is used up. By default many would wait for
        # it: one photo in a SAM of ViT-B's size took more than 23 GB so, and takes 8.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        session = onnxruntime.InferenceSession(watching, options, providers=["CPUExecutionProvider"])
        greatest = np.zeros(len(tensors), np.float32)
        for feeds in itertools.chain.from_iterable(_feeds(name, case) for case in cases):
            greatest = np.maximum(greatest, session.run([f"{tensor}/greatest" for tensor in tensors], feeds))
    finally:
        watching.unlink(missing_ok=True)
    worst = int(np.argmax(greatest))  # a NaN counts as the greatest
    return Headroom(tensors[worst], float(greatest[worst]))


def _feeds(name: str, case: Case) -> Iterator[dict[str, np.ndarray]]:
    """What a graph is run on: the items of a batch one after the other, for the sake of memory.

    A step's rows belong to several of its slots and stay together.
    """
    arrays = {tensor: value.numpy() for tensor, value in case.inputs.items()}
    if not all(array.size for array in arrays.values()):
        return  # nothing has no greatest number
    if any(tensor.dims[0] != "B" for tensor in GRAPHS[name].inputs):
        yield arrays
        return
    for item in range(len(next(iter(arrays.values())))):
        yield {name: array[item : item + 1] for name, array in arrays.items()}


def _write_watching(path: Path, watching: Path) -> list[str]:
    """Write the graph with the greatest magnitude of each fp16 tensor as further outputs."""
    # With attention as its definition has it: the scores are the largest numbers of some models.
    model = infer_shapes(inline_local_functions(onnx.load(path, load_external_data=False)))
    graph = model.graph
    dtypes = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    masks = set(_attention_masks(graph))
    tensors = [
        output
        for node in graph.node
        for output in node.output
        if dtypes.get(output) == TensorProto.FLOAT16 and output not in masks
    ]
    watched, nodes = set(tensors), list(graph.node)
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        for tensor in node.output:
            if tensor in watched:
                graph.node.extend(_watch(tensor))
    graph.output.extend(
        helper.make_tensor_value_info(f"{tensor}/greatest", TensorProto.FLOAT, []) for tensor in tensors
    )
    onnx.save(model, watching)
    return tensors


def _watch(tensor: str) -> Iterator[onnx.NodeProto]:
    wide, positive, greatest = (f"{tensor}/{part}" for part in ("fp32", "magnitude", "greatest"))
    yield helper.make_node("Cast", [tensor], [wide], to=TensorProto.FLOAT)
    yield helper.make_node("Abs", [wide], [positive])
    yield helper.make_node("ReduceMax", [positive], [greatest], keepdims=0)


def _attention_masks(graph: onnx.GraphProto) -> Iterator[str]:
    """Tensors that are at the end of the range on purpose: masks, and logits with a mask on them."""
    ends = {
        weight.name
        for weight in graph.initializer
        if weight.data_type == TensorProto.FLOAT16
        and int(np.prod(weight.dims)) == 1
        and numpy_helper.to_array(weight).item() <= -LARGEST_FP16
    }
    masks = {node.output[0] for node in graph.node if node.op_type == "Where" and ends & set(node.input)}
    yield from masks
    yield from (node.output[0] for node in graph.node if node.op_type == "Add" and masks & set(node.input))
