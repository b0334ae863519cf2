"""Tensors on a device, in one piece of memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from packshot.contract import DTYPE_NAMES, GRAPHS
from packshot_serving.engine.device import ALIGNMENT, Device, Memory
from packshot_serving.engine.program import Bound

#: A tensor's shape and dtype.
Kind = tuple[tuple[int, ...], type[np.generic]]


class Block:
    """Tensors on a device, one after the other.

    Args:
        device: where.
        kinds: of the tensors, by name.

    Attributes:
        tensors: by name.
        address: of the first byte.
        nbytes: of them all.
    """

    def __init__(self, device: Device, kinds: Mapping[str, Kind]) -> None:
        offsets, self.nbytes = {}, 0
        for name, kind in kinds.items():
            offsets[name] = self.nbytes
            self.nbytes += -(-Bound(0, *kind).nbytes // ALIGNMENT) * ALIGNMENT
        self._memory = Memory(device.name, self.nbytes)
        self.address = self._memory.address
        self.tensors = {name: Bound(self.address + offsets[name], *kind) for name, kind in kinds.items()}

    def views(self, host: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors in the host's memory, by name, if all of the block is to come from ``host``, uint8."""
        views = {}
        for name, tensor in self.tensors.items():
            offset = tensor.address - self.address
            views[name] = host[offset : offset + tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)
        return views


def step_kinds(names: Iterable[str], dims: Mapping[str, int]) -> dict[str, Kind]:
    """Of some of the step graph's tensors, by name, where its symbols have the values ``dims``."""
    tensors = {tensor.name: tensor for tensor in GRAPHS["step"].inputs + GRAPHS["step"].outputs}
    wanted = [tensors[name] for name in names]
    return {tensor.name: (tensor.bind(dims), np.dtype(DTYPE_NAMES[tensor.dtype]).type) for tensor in wanted}
