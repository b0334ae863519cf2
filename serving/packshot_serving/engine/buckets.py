"""Steps of fixed sizes: buffers that stay where they are, so that a GPU can record a step and repeat it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from packshot.family import Family
from packshot_serving.engine.block import Block, step_kinds
from packshot_serving.engine.device import Device
from packshot_serving.engine.program import Program
from packshot_serving.engine.resident import DeviceSlot
from packshot_serving.engine.runner import StepNumbers
from packshot_serving.engine.sizes import Sizes
from packshot_serving.engine.slot_buffers import SlotBuffers, gather

_NUMBERS = tuple(StepNumbers.__dataclass_fields__)
_TEXTS = "encoder_hidden_states"


class Bucket:
    """The buffers of one size, bound to the step.

    Args:
        step: the program of the step graph.
        device: where.
        family: whose step.
        sizes: what it is for.
        slots: the slots' buffers, of ``sizes.slots``; others may use them between two steps.
        repeated: the program may record what it computes on these buffers.

    Attributes:
        sizes: what it is for.
        slots: the slots' buffers.
        numbers: a step's numbers.
        run: computes a step on the buffers.
    """

    def __init__(
        self,
        step: Program,
        device: Device,
        family: Family,
        sizes: Sizes,
        slots: SlotBuffers,
        repeated: bool,
    ) -> None:
        self.sizes, self.slots, self._device = sizes, slots, device
        dims = {"B": sizes.slots.count, "R": sizes.rows, "P": sizes.control_rows, "m": sizes.slots.state_size}
        dims = {**family.dims, **dims}
        # In a block of their own: one copy brings them all.
        self.numbers = Block(device, step_kinds(_NUMBERS, dims))
        self._texts = Block(device, step_kinds((_TEXTS,), dims))
        self._loaded: list[tuple[int, str]] = []
        tensors = slots.tensors | self.numbers.tensors | self._texts.tensors
        self.run = step.bind(tensors, repeated=repeated)

    def load(self, slots: Sequence[DeviceSlot], padded: StepNumbers, staging: np.ndarray) -> None:
        """Bring a step's inputs into the buffers: what stays the same only if it is other than before."""
        self._load_texts(slots, padded)
        for name, view in self.numbers.views(staging).items():
            view[...] = getattr(padded, name)
        self._device.copy(self.numbers.address, staging.ctypes.data, self.numbers.nbytes)
        self.slots.load(slots)

    def _load_texts(self, slots: Sequence[DeviceSlot], padded: StepNumbers) -> None:
        row, of_slot = np.arange(padded.num_rows), padded.row_slot
        # A row that is the negative prompt's, and not the prompt's of an unguided slot.
        negative = (padded.uncond_row[of_slot] == row) & (padded.cond_row[of_slot] != row)
        texts = [
            (slots[slot], "negative_prompt_embeds" if is_negative else "prompt_embeds")
            for slot, is_negative in zip(of_slot, negative, strict=True)
        ]
        wanted = [(slot.number, name) for slot, name in texts]
        if wanted == self._loaded:
            return
        self._loaded = []  # until all of it is there
        gather(self._device, self._texts.tensors[_TEXTS], [slot.tensor(name) for slot, name in texts])
        self._loaded = wanted
