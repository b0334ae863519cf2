"""A slot's tensors on a device."""

from __future__ import annotations

from itertools import count

import numpy as np

from packshot_serving.engine.block import Block
from packshot_serving.engine.device import Device
from packshot_serving.engine.program import Bound
from packshot_serving.engine.runner import SlotTensors

_numbers = count()


class DeviceSlot:
    """A :class:`Residence`: one block that holds everything of a slot.

    Attributes:
        number: which no other slot has had.
        lane: latent height and width.
        state_size: latents in the state.
    """

    def __init__(self, device: Device, tensors: SlotTensors, control_shape: tuple[int, ...]) -> None:
        self.number = next(_numbers)
        self.lane: tuple[int, int] = tensors.state.shape[-2], tensors.state.shape[-1]
        self.state_size = len(tensors.state)
        arrays = {
            name: np.ascontiguousarray(getattr(tensors, name), np.float32)
            for name in SlotTensors.__dataclass_fields__
            if name != "control_image"
        }
        shapes = {name: array.shape for name, array in arrays.items()} | {"control_embedding": control_shape}
        self._device = device
        self._block = Block(device, {name: (shape, np.float32) for name, shape in shapes.items()})
        for name, array in arrays.items():
            device.copy(self.tensor(name).address, array.ctypes.data, array.nbytes)

    def tensor(self, name: str) -> Bound:
        """By its name in :class:`SlotTensors`; and ``control_embedding``."""
        return self._block.tensors[name]

    @property
    def sample_nbytes(self) -> int:
        """Of the sample, the first latents of the state."""
        return self.tensor("state").nbytes // self.state_size

    def read(self) -> np.ndarray:
        """See :meth:`Residence.read`."""
        resident = self.tensor("state")
        state = np.empty(resident.shape, np.float32)
        self._device.copy(state.ctypes.data, resident.address, state.nbytes)
        self._device.wait()
        return state

    def write(self, state: np.ndarray) -> None:
        """See :meth:`Residence.write`."""
        state = np.ascontiguousarray(state, np.float32)
        self._device.copy(self.tensor("state").address, state.ctypes.data, state.nbytes)
        self._device.wait()
