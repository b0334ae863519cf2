"""Graphs on ONNX Runtime, bound to a device's memory."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import onnxruntime

from packshot.contract import GRAPHS
from packshot_serving.engine.device import Device
from packshot_serving.engine.program import Bound, Run
from packshot_serving.engine.sessions import open_session

#: ONNX Runtime's number of a run that it does not record.
_UNRECORDED = -1


class OnnxProgram:
    """A :class:`Program` of ``<name>.onnx``; on CUDA what is repeated is recorded as a CUDA graph.

    Args:
        directory: where the graph lies.
        name: of the contract's ``GRAPHS``.
        device: where to compute.
        repeated: whether any run will be.
        intra_op_num_threads: on the host; 0 lets ONNX Runtime take every core.

    Raises:
        RepositoryError: the graph is missing, cannot be loaded, or has other tensors than the contract
            says.
        ServerStartError: ONNX Runtime cannot compute on the device.
    """

    def __init__(
        self, directory: Path, name: str, device: Device, repeated: bool, intra_op_num_threads: int = 0
    ) -> None:
        self._graph, self._device = GRAPHS[name], device
        self._session = open_session(
            directory, self._graph, intra_op_num_threads, device.providers(graphs=repeated)
        )
        self._recordings = count()
        # Recordings are of the thread that made them: who measures sizes at start is not who steps later.
        self._thread = ThreadPoolExecutor(1, "onnxruntime") if repeated else None

    def bind(self, tensors: Mapping[str, Bound], *, repeated: bool) -> Run:
        """See :meth:`Program.bind`."""
        binding, device = self._session.io_binding(), self._device.name
        for tensor in self._graph.inputs:
            bound = tensors[tensor.name]
            binding.bind_input(tensor.name, device, 0, bound.dtype, bound.shape, bound.address)
        for tensor in self._graph.outputs:
            bound = tensors[tensor.name]
            binding.bind_output(tensor.name, device, 0, bound.dtype, bound.shape, bound.address)
        options = onnxruntime.RunOptions()
        recording = next(self._recordings) if repeated else _UNRECORDED
        options.add_run_config_entry("gpu_graph_id", str(recording))
        # The runner waits itself, once, after the copies that follow a run.
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        run, thread = partial(self._session.run_with_iobinding, binding, options), self._thread
        return run if thread is None else lambda: thread.submit(run).result()

    def longest(self, name: str, shape: tuple[int, ...]) -> int | None:
        """See :meth:`Program.longest`."""
        del name, shape
        return None


def onnx_programs(
    directory: Path, device: Device, intra_op_num_threads: int = 0
) -> tuple[OnnxProgram, OnnxProgram]:
    """The denoiser's ``step`` and ``control_embedding``; see :class:`OnnxProgram`."""
    step = OnnxProgram(directory, "step", device, True, intra_op_num_threads)
    return step, OnnxProgram(directory, "control_embedding", device, False, intra_op_num_threads)
