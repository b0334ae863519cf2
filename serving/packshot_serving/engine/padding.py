"""Batches of fixed sizes, for runners that want them: CUDA graphs, TensorRT profiles."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from packshot_serving.engine.runner import StepNumbers

Numbers = TypeVar("Numbers", bound=StepNumbers)
_BY_ROW = ("encoder_hidden_states", "row_slot", "row_residual")


def pad_batch(batch: Numbers, num_slots: int, num_rows: int, num_control_rows: int) -> Numbers:
    """The batch, or its numbers alone, with its last slot and its first row repeated.

    A repeated slot reads the rows of the original, so it needs none of its own. The ControlNets'
    additional rows are the first row's, too, and no row takes their residuals. The first slots of
    the padded batch's result are the batch's.
    """
    slot = np.minimum(np.arange(num_slots), batch.num_slots - 1)
    row = np.concatenate([np.arange(batch.num_rows), np.zeros(num_rows - batch.num_rows, np.intp)])
    arrays = {
        name: getattr(batch, name)[row if name in _BY_ROW else slot]
        for name in type(batch).__dataclass_fields__
        if name != "control_row"
    }
    arrays["control_row"] = np.zeros(num_control_rows, np.int64)
    arrays["control_row"][: batch.num_control_rows] = batch.control_row
    return type(batch)(**arrays)
