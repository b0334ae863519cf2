"""Proof that an exported graph computes what the original models compute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from packshot.errors import ExportError
from packshot.family import Precision
from packshot_export.cases import Case

#: Greatest difference of floats, as a share of the greatest magnitude of the original's answer.
_FP32 = 1e-4
#: Greatest difference of bytes: fp32 may round a tie the other way.
_FP32_BYTES = 1.0
#: The same in fp16, by what is computed: a deep network may be further off than a shallow one.
_FP16 = {
    "image_embeddings": 1e-2,
    "low_res_masks": 2e-2,
    "iou_predictions": 2e-2,
    "prompt_embeds": 2e-2,
    "masked_image_latents": 1e-2,
    "control_embedding": 5e-3,
    "next_state": 1e-2,
    "image": 4.0,
}
#: In either precision: nothing is computed, only chosen.
_EXACT = {"mask_latents"}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an output is from the original's.

    Attributes:
        tensor: name of the output.
        greatest: greatest absolute difference over all cases; for floats, as a share of the greatest
            magnitude of the original's answer.
        tolerance: what it may be, in the same unit.
    """

    tensor: str
    greatest: float
    tolerance: float


def check(name: str, path: Path, cases: Iterable[Case], precision: Precision) -> tuple[Difference, ...]:
    """Run a graph in ONNX Runtime on every case.

    Raises:
        ExportError: an output is not finite, has another shape or dtype, or is too far off.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    greatest: dict[str, Difference] = {}
    for case in cases:
        feeds = {tensor: value.numpy() for tensor, value in case.inputs.items()}
        outputs = session.run(list(case.outputs), feeds)
        for (tensor, original), found in zip(case.outputs.items(), outputs, strict=True):
            difference = compare(
                f"{name}.{tensor} ({case.label})", tensor, original.numpy(), found, precision
            )
            greatest[tensor] = max(greatest.get(tensor, difference), difference, key=lambda d: d.greatest)
    return tuple(greatest.values())


def compare(
    what: str, tensor: str, original: np.ndarray, found: np.ndarray, precision: Precision
) -> Difference:
    """How far one output is from the original's.

    Args:
        what: names the output and its case, for messages.
        tensor: name of the output.

    Raises:
        ExportError: it is not finite, has another shape or dtype, or is too far off.
    """
    if (found.dtype, found.shape) != (original.dtype, original.shape):
        got, wanted = (f"{array.dtype}{list(array.shape)}" for array in (found, original))
        raise ExportError(f"{what}: got {got}, the original model says {wanted}")
    for side, values in (("the graph", found), ("the original model", original)):
        if not np.isfinite(values).all():
            raise ExportError(f"{what}: {side} answers NaN or infinity in {precision}")
    difference = float(np.abs(found.astype(np.float64) - original.astype(np.float64)).max())
    if original.dtype.kind == "f":
        difference /= max(float(np.abs(original).max()), 1e-6)
    tolerance = _tolerance(tensor, original.dtype, precision)
    if difference > tolerance:
        raise ExportError(
            f"{what}: differs from the original model by {difference:.3g}, tolerance {tolerance:.3g}; "
            "nothing was written"
        )
    return Difference(tensor, difference, tolerance)


def _tolerance(tensor: str, dtype: np.dtype, precision: Precision) -> float:
    if tensor in _EXACT:
        return 0.0
    if precision == "fp16":
        return _FP16[tensor]
    return _FP32 if dtype.kind == "f" else _FP32_BYTES
