"""A step runner on OpenVINO, for processors that compute in bfloat16: ONNX Runtime's kernels do not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from packshot.contract import GRAPHS
from packshot.errors import RepositoryError, ServerStartError
from packshot_serving.engine.onnx_runner import ControlRunner
from packshot_serving.engine.runner import StepBatch
from packshot_serving.engine.sessions import check_names, graph_path

_PRECISION = "bf16"
#: Prepared operations that OpenVINO keeps for sizes that come again, 5000 unless told. A fifth is enough for
#: six sizes in turn, and with 64 sizes of pocket's the process has 600 MiB and not 710.
_KEPT = 1000


class OpenVinoStepRunner(ControlRunner):
    """Runs ``step.onnx`` of one directory in bfloat16, and ``control_embedding.onnx``, a small one, as it is.

    A processor that does not know bfloat16 computes in float32 instead; see :func:`require_bf16`. Unlike
    ONNX Runtime, OpenVINO computes something also where a batch's tensors do not fit together.

    Args:
        directory: where the two graphs lie.
        num_threads: threads of a step; 0 lets OpenVINO take every core.

    Raises:
        RepositoryError: a graph is missing, cannot be loaded, or has other tensors than the
            contract says.
        ServerStartError: OpenVINO is not installed.
    """

    def __init__(self, directory: Path, num_threads: int = 0) -> None:
        super().__init__(directory, num_threads)
        path, graph = graph_path(directory, GRAPHS["step"]), GRAPHS["step"]
        options = {
            "INFERENCE_PRECISION_HINT": _PRECISION,
            "INFERENCE_NUM_THREADS": num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            # The other models of the server need the cores between two steps.
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT,
        }
        core = _core()
        try:
            compiled = core.compile_model(path, "CPU", options)
        except Exception as error:
            raise RepositoryError(f"{path}: OpenVINO cannot load it ({error})") from error
        for side, ports, tensors in (
            ("inputs", compiled.inputs, graph.inputs),
            ("outputs", compiled.outputs, graph.outputs),
        ):
            check_names(path, side, [port.get_any_name() for port in ports], tensors)
        self._step = compiled.create_infer_request()
        self._inputs = tuple(tensor.name for tensor in graph.inputs)

    def step(self, batch: StepBatch) -> np.ndarray:
        """See :meth:`StepRunner.step`."""
        feed = {name: getattr(batch, name) for name in self._inputs}
        # The inputs stay where they are; the output is copied, so that it is ours to give away.
        return self._step.infer(feed, share_inputs=True)["next_state"]


def require_bf16() -> None:
    """Refuse a machine on which :class:`OpenVinoStepRunner` would not be faster.

    Raises:
        ServerStartError: OpenVINO is not installed, or the processor does not know bfloat16.
    """
    found = capabilities()
    if "BF16" not in found:
        raise ServerStartError(
            f"bf16: got a processor with {', '.join(found)}, expected one with BF16 (AVX512_BF16 or AMX)"
        )


def capabilities() -> list[str]:
    """What the processor can compute in, in OpenVINO's words: ``FP32``, ``BF16``, …

    Raises:
        ServerStartError: OpenVINO is not installed.
    """
    return _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _core() -> Any:
    # Its package sends statistics of its use to its makers, unless it does not find what sends them.
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
    try:
        import openvino
    except ImportError as error:
        raise ServerStartError("bf16: OpenVINO is not installed: pip install openvino") from error
    return openvino.Core()
