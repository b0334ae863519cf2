"""A step runner on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from packshot.contract import GRAPHS, Graph
from packshot.errors import RepositoryError
from packshot_serving.engine.runner import StepBatch

CPU_PROVIDERS = ("CPUExecutionProvider",)


class OnnxStepRunner:
    """Runs ``step.onnx`` and ``control_embedding.onnx`` of one directory.

    Args:
        directory: where the two graphs lie.
        intra_op_num_threads: threads of each session; 0 lets ONNX Runtime take every core.
        providers: ONNX Runtime's execution providers, best first.

    Raises:
        RepositoryError: a graph is missing, cannot be loaded, or has other tensors than the
            contract says.
    """

    def __init__(
        self,
        directory: Path,
        intra_op_num_threads: int = 0,
        providers: Sequence[str] = CPU_PROVIDERS,
    ) -> None:
        self._step = _session(directory, GRAPHS["step"], intra_op_num_threads, providers)
        self._control = _session(directory, GRAPHS["control_embedding"], intra_op_num_threads, providers)
        self._step_inputs = tuple(tensor.name for tensor in GRAPHS["step"].inputs)

    def embed_control(self, control_image: np.ndarray) -> np.ndarray:
        """See :meth:`StepRunner.embed_control`."""
        (embedding,) = self._control.run(["control_embedding"], {"control_image": control_image[None]})
        return np.asarray(embedding)[0]

    def step(self, batch: StepBatch) -> np.ndarray:
        """See :meth:`StepRunner.step`."""
        feed = {name: getattr(batch, name) for name in self._step_inputs}
        (next_state,) = self._step.run(["next_state"], feed)
        return np.asarray(next_state)


def _session(
    directory: Path, graph: Graph, intra_op_num_threads: int, providers: Sequence[str]
) -> onnxruntime.InferenceSession:
    path = directory / f"{graph.name}.onnx"
    if not path.is_file():
        raise RepositoryError(f"{path}: missing")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_num_threads
    options.inter_op_num_threads = 1
    # An idle session that spins steals the cores from the one that works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, sess_options=options, providers=list(providers))
    except Exception as error:
        raise RepositoryError(f"{path}: ONNX Runtime cannot load it ({error})") from error
    _check_names(path, "inputs", session.get_inputs(), graph.inputs)
    _check_names(path, "outputs", session.get_outputs(), graph.outputs)
    return session


def _check_names(path: Path, side: str, found: Sequence, defined: Sequence) -> None:
    got, want = sorted(node.name for node in found), sorted(tensor.name for tensor in defined)
    if got != want:
        raise RepositoryError(f"{path}: {side}: got {', '.join(got)}, expected {', '.join(want)}")
