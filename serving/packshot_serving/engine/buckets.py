"""Steps of fixed sizes: buffers that stay where they are, so that a GPU can record a step and repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from packshot.contract import DTYPE_NAMES, GRAPHS
from packshot.family import Family
from packshot_serving.engine.device import Device, Memory
from packshot_serving.engine.program import Bound, Program
from packshot_serving.engine.resident import DeviceSlot, Layout
from packshot_serving.engine.runner import StepNumbers

#: At most a third more is computed than is needed. Beyond the last: multiples of 32.
_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_NUMBERS = tuple(StepNumbers.__dataclass_fields__)
#: What a slot has that stays the same from step to step.
_CONSTANTS = ("mask_latents", "masked_image_latents", "control_embedding")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a bucket is for: slots, rows, ControlNet rows, latents in a state, latent height and width."""

    slots: int
    rows: int
    control_rows: int
    state_size: int
    height: int
    width: int

    @classmethod
    def holding(cls, numbers: StepNumbers, slot: DeviceSlot) -> Sizes:
        """The least that some slots' step fits into; one ControlNet row at least, as CUDA's kernels want."""
        return cls(
            rung(numbers.num_slots),
            rung(numbers.num_rows),
            rung(max(1, numbers.num_control_rows)),
            slot.state_size,
            *slot.lane,
        )


def rung(count: int) -> int:
    """The least size that holds so many. Of twice as many it is at most twice the size."""
    return next((size for size in _LADDER if size >= count), -(-count // 32) * 32)


def rung_within(count: int) -> int:
    """The greatest size that so many fill."""
    return max(size for size in (*_LADDER, count // 32 * 32) if size <= count)


class Bucket:
    """The buffers of one size, bound to the step.

    Args:
        step: the program of the step graph.
        repeated: the program may record what it computes on these buffers.

    Attributes:
        sizes: what it is for.
        run: computes a step on the buffers.
    """

    def __init__(self, step: Program, device: Device, family: Family, sizes: Sizes, repeated: bool) -> None:
        self.sizes, self._device = sizes, device
        bound = {**family.dims, "B": sizes.slots, "R": sizes.rows, "P": sizes.control_rows}
        bound |= {"m": sizes.state_size, "h": sizes.height, "w": sizes.width}
        graph = GRAPHS["step"]
        tensors = {
            tensor.name: (tensor.bind(bound), np.dtype(DTYPE_NAMES[tensor.dtype]).type)
            for tensor in graph.inputs + graph.outputs
        }
        # The numbers in a block of their own: one copy brings them all.
        self.numbers = Layout.of({name: tensors[name] for name in _NUMBERS})
        self._tensors = Layout.of({name: each for name, each in tensors.items() if name not in _NUMBERS})
        self._numbers_memory = Memory(device.name, self.numbers.nbytes)
        self._tensors_memory = Memory(device.name, self._tensors.nbytes)
        self._loaded: tuple[object, ...] = ()
        self.run = step.bind({name: self._bound(name) for name in tensors}, repeated=repeated)

    def load(self, slots: Sequence[DeviceSlot], padded: StepNumbers, staging: np.ndarray) -> None:
        """Bring a step's inputs into the buffers: the constants only when they are others than before."""
        slots = [slots[min(index, len(slots) - 1)] for index in range(self.sizes.slots)]
        self._load_constants(slots, padded)
        for name, place in self.numbers.places.items():
            place.view(staging)[...] = getattr(padded, name)
        self._device.copy(self._numbers_memory.address, staging.ctypes.data, self.numbers.nbytes)
        self._gather("state", slots, "state")

    def store(self, slots: Sequence[DeviceSlot]) -> None:
        """Move the slots' states on."""
        for index, slot in enumerate(slots):
            nbytes = slot.nbytes("state")
            self._device.copy(slot.address("state"), self.next_state + index * nbytes, nbytes)

    @property
    def next_state(self) -> int:
        """The address of the step's output."""
        return self._tensors_memory.address + self._tensors.places["next_state"].offset

    def _load_constants(self, slots: Sequence[DeviceSlot], padded: StepNumbers) -> None:
        row = np.arange(len(padded.row_slot))
        of_slot = padded.row_slot
        # A row that is the negative prompt's, and not the prompt's of an unguided slot.
        negative = (padded.uncond_row[of_slot] == row) & (padded.cond_row[of_slot] != row)
        texts = [
            (slots[slot], "negative_prompt_embeds" if is_negative else "prompt_embeds")
            for slot, is_negative in zip(of_slot, negative, strict=True)
        ]
        wanted = (
            tuple(slot.number for slot in slots),
            tuple((slot.number, name) for slot, name in texts),
        )
        if wanted == self._loaded:
            return
        self._loaded = ()  # until all of it is there
        for name in _CONSTANTS:
            self._gather(name, slots, name)
        target = self._tensors_memory.address + self._tensors.places["encoder_hidden_states"].offset
        for index, (slot, name) in enumerate(texts):
            nbytes = slot.nbytes(name)
            self._device.copy(target + index * nbytes, slot.address(name), nbytes)
        self._loaded = wanted

    def _gather(self, target: str, slots: Sequence[DeviceSlot], name: str) -> None:
        address = self._tensors_memory.address + self._tensors.places[target].offset
        for index, slot in enumerate(slots):
            nbytes = slot.nbytes(name)
            self._device.copy(address + index * nbytes, slot.address(name), nbytes)

    def _bound(self, name: str) -> Bound:
        layout, memory = (
            (self.numbers, self._numbers_memory)
            if name in _NUMBERS
            else (self._tensors, self._tensors_memory)
        )
        place = layout.places[name]
        return Bound(memory.address + place.offset, place.shape, place.dtype)
