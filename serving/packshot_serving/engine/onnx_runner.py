"""A step runner on ONNX Runtime, in the host's memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from packshot.contract import GRAPHS
from packshot_serving.engine.runner import StepBatch
from packshot_serving.engine.sessions import open_session

#: Times less than the largest step, for so many steps in a row, is reason to give its memory back.
_MUCH_SMALLER, _STEPS = 3, 64


class Shrinking:
    """When a session is to give back the memory that its largest step took: else it keeps it for good."""

    def __init__(self) -> None:
        self._largest = self._smaller = 0

    def due(self, size: int) -> bool:
        """Whether to do so after a step of this size, in rows times latent pixels."""
        self._largest = max(self._largest, size)
        self._smaller = self._smaller + 1 if size * _MUCH_SMALLER <= self._largest else 0
        if self._smaller < _STEPS:
            return False
        self._largest, self._smaller = size, 0
        return True


class ControlRunner:
    """Runs ``control_embedding.onnx`` of one directory: half of a :class:`StepRunner`.

    Args:
        directory: where the graph lies.
        intra_op_num_threads: 0 lets ONNX Runtime take every core.

    Raises:
        RepositoryError: the graph is missing, cannot be loaded, or has other tensors than the
            contract says.
    """

    def __init__(self, directory: Path, intra_op_num_threads: int = 0) -> None:
        self._control = open_session(directory, GRAPHS["control_embedding"], intra_op_num_threads)

    def embed_control(self, control_image: np.ndarray) -> np.ndarray:
        """See :meth:`StepRunner.embed_control`."""
        (embedding,) = self._control.run(["control_embedding"], {"control_image": control_image[None]})
        return np.asarray(embedding)[0]


class OnnxStepRunner(ControlRunner):
    """Runs ``step.onnx`` and ``control_embedding.onnx`` of one directory.

    Args:
        directory: where the two graphs lie.
        intra_op_num_threads: threads of each session; 0 lets ONNX Runtime take every core.

    Raises:
        RepositoryError: a graph is missing, cannot be loaded, or has other tensors than the
            contract says.
    """

    def __init__(self, directory: Path, intra_op_num_threads: int = 0) -> None:
        super().__init__(directory, intra_op_num_threads)
        self._step = open_session(directory, GRAPHS["step"], intra_op_num_threads)
        self._step_inputs = tuple(tensor.name for tensor in GRAPHS["step"].inputs)
        self._shrinking = Shrinking()
        self._shrink = onnxruntime.RunOptions()
        self._shrink.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def step(self, batch: StepBatch) -> np.ndarray:
        """See :meth:`StepRunner.step`."""
        feed = {name: getattr(batch, name) for name in self._step_inputs}
        size = batch.num_rows * batch.mask_latents[0].size
        options = self._shrink if self._shrinking.due(size) else None
        (next_state,) = self._step.run(["next_state"], feed, options)
        return np.asarray(next_state)
