"""A slot's tensors on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np

from packshot_serving.engine.device import ALIGNMENT, Device, Memory
from packshot_serving.engine.runner import SlotTensors

_numbers = count()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor is in a block of memory: bytes from its beginning, shape and dtype."""

    offset: int
    shape: tuple[int, ...]
    dtype: type[np.generic]

    @property
    def nbytes(self) -> int:
        """Of the tensor."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def view(self, block: np.ndarray) -> np.ndarray:
        """The tensor in a block of the host's memory, uint8."""
        return block[self.offset : self.offset + self.nbytes].view(self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Layout:
    """Tensors in one block of memory, one after the other.

    Attributes:
        places: by name.
        nbytes: of the block.
    """

    places: Mapping[str, Place]
    nbytes: int

    @classmethod
    def of(cls, tensors: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]) -> Layout:
        """A layout of tensors, given as name → shape and dtype."""
        places, offset = {}, 0
        for name, (shape, dtype) in tensors.items():
            places[name] = Place(offset, shape, dtype)
            offset += -(-places[name].nbytes // ALIGNMENT) * ALIGNMENT
        return cls(places, offset)


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
        self._layout = Layout.of({name: (shape, np.float32) for name, shape in shapes.items()})
        self._memory = Memory(device.name, self._layout.nbytes)
        for name, array in arrays.items():
            device.copy(self.address(name), array.ctypes.data, array.nbytes)

    def address(self, name: str) -> int:
        """Of a tensor, by its name in :class:`SlotTensors`; and of ``control_embedding``."""
        return self._memory.address + self._layout.places[name].offset

    def nbytes(self, name: str) -> int:
        """Of a tensor."""
        return self._layout.places[name].nbytes

    @property
    def sample_nbytes(self) -> int:
        """Of the sample, the first latents of the state."""
        return self.nbytes("state") // self.state_size

    def read(self) -> np.ndarray:
        """See :meth:`Residence.read`."""
        state = np.empty(self._layout.places["state"].shape, np.float32)
        self._device.copy(state.ctypes.data, self.address("state"), state.nbytes)
        self._device.wait()
        return state

    def write(self, state: np.ndarray) -> None:
        """See :meth:`Residence.write`."""
        state = np.ascontiguousarray(state, np.float32)
        self._device.copy(self.address("state"), state.ctypes.data, state.nbytes)
        self._device.wait()
