"""A step runner on ONNX Runtime, in the host's memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packshot.contract import GRAPHS
from packshot_serving.engine.runner import StepBatch
from packshot_serving.engine.sessions import open_session


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

    def step(self, batch: StepBatch) -> np.ndarray:
        """See :meth:`StepRunner.step`."""
        feed = {name: getattr(batch, name) for name in self._step_inputs}
        (next_state,) = self._step.run(["next_state"], feed)
        return np.asarray(next_state)
