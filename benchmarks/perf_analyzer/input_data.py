"""perf_analyzer's input data: how it is written, and what of it the tool would refuse.

After ``docs/input_data.md`` of the project triton-inference-server/perf_analyzer, and what that leaves open
after its parser, ``src/data_loader.cc``: bytes are little-endian and row-major, shapes are without batch axis
where a model batches, an entry has every input that is not optional and none that the model does not know.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import triton_to_np_dtype

from packshot.arrays import brackets
from packshot.errors import InvalidArgument, expected

SCHEMA = Path(__file__).with_name("schema.json")

Arrays = Mapping[str, np.ndarray]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServedInput:
    """An input as a running server tells of it.

    Attributes:
        datatype: KServe's name, such as ``FP32``.
        shape: without batch axis; −1 where it is free.
        optional: whether a request may leave it out.
    """

    datatype: str
    shape: tuple[int, ...]
    optional: bool


def served_inputs(client: InferenceServerClient, model: str) -> dict[str, ServedInput]:
    """A model's inputs by name, from where the tool takes them: the model's metadata and config."""
    metadata: Any = client.get_model_metadata(model)
    config = client.get_model_config(model).config  # type: ignore[union-attr]
    optional = {tensor.name for tensor in config.input if tensor.optional}
    batch_axes = 1 if config.max_batch_size else 0
    return {
        tensor.name: ServedInput(tensor.datatype, tuple(tensor.shape[batch_axes:]), tensor.name in optional)
        for tensor in metadata.inputs
    }


def document(entries: Sequence[Arrays]) -> Document:
    """Requests as the tool's JSON document.

    Args:
        entries: of each request its inputs by name, without batch axis; text as ``object`` arrays of bytes.

    Returns:
        Text as lists of strings, all else as base64, each with its shape. ``data`` is alone in it, since the
        tool refuses other members in some of its modes.
    """
    return {"data": [{name: _tensor(array) for name, array in entry.items()} for entry in entries]}


def check(document: Document, model: str, inputs: Mapping[str, ServedInput]) -> None:
    """Refuse a document that the tool would refuse for a model, at any batch size that the model takes.

    Args:
        document: the document.
        model: its name, for messages.
        inputs: what the server says of it.

    Raises:
        InvalidArgument: it is not of the format; or an entry lacks an input, has one too many, one of
            another shape, one whose bytes are not those of its shape, or others than the first entry.
    """
    try:
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path))
        raise InvalidArgument(f"{model}: {where}: {error.message[:200]}") from None
    first = document["data"][0]
    for number, entry in enumerate(document["data"]):
        what = f"{model}[{number}]"
        if unknown := set(entry) - set(inputs):
            raise expected(what, ", ".join(sorted(unknown)), f"some of {', '.join(inputs)}")
        for name, served in inputs.items():
            if name in entry:
                _check_tensor(f"{what}.{name}", entry[name], served)
            elif not served.optional:
                raise expected(f"{what}.{name}", "nothing", f"{served.datatype}{brackets(served.shape)}")
        # A batch is made of entries that follow each other.
        shapes, wanted = ({name: tensor["shape"] for name, tensor in each.items()} for each in (entry, first))
        if shapes != wanted:
            raise expected(what, f"the shapes {shapes}", f"{wanted} like {model}[0]")


def _tensor(array: np.ndarray) -> dict[str, Any]:
    shape = list(array.shape)
    if array.dtype == np.object_:
        return {"content": [text.decode() for text in array.flat], "shape": shape}
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {"content": {"b64": base64.b64encode(raw).decode()}, "shape": shape}


def _check_tensor(what: str, tensor: Mapping[str, Any], served: ServedInput) -> None:
    shape, content = tensor["shape"], tensor["content"]
    if len(shape) != len(served.shape) or any(
        wanted not in (-1, size) for size, wanted in zip(shape, served.shape, strict=True)
    ):
        raise expected(what, brackets(shape), brackets(served.shape))
    texts = served.datatype == "BYTES"
    if texts != isinstance(content, list):
        raise expected(what, "text" if isinstance(content, list) else "base64", served.datatype)
    if texts:
        got, wanted, unit = len(content), math.prod(shape), "texts"
    else:
        item_bytes = np.dtype(triton_to_np_dtype(served.datatype)).itemsize
        got = len(base64.b64decode(content["b64"]))
        wanted, unit = item_bytes * math.prod(shape), "bytes"
    if got != wanted:
        raise expected(what, f"{got} {unit}", f"{wanted} for {served.datatype}{brackets(shape)}")
