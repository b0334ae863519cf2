"""What a step takes of its slots and leaves to them, in buffers that stay where they are."""

from __future__ import annotations

from collections.abc import Sequence

from packshot.family import Family
from packshot_serving.engine.block import Block, step_kinds
from packshot_serving.engine.device import Device
from packshot_serving.engine.program import Bound
from packshot_serving.engine.resident import DeviceSlot
from packshot_serving.engine.sizes import SlotSizes

#: What a slot has that stays the same from step to step.
_CONSTANTS = ("mask_latents", "masked_image_latents", "control_embedding")


class SlotBuffers:
    """The buffers of so many slots, by far the larger ones; buckets that differ in rows only share them.

    Args:
        device: where.
        family: whose steps.
        sizes: what they are for.

    Attributes:
        tensors: of the step, by name.
    """

    def __init__(self, device: Device, family: Family, sizes: SlotSizes) -> None:
        self._device, self._count = device, sizes.count
        dims = {"B": sizes.count, "m": sizes.state_size, "h": sizes.height, "w": sizes.width}
        self._block = Block(device, step_kinds(("state", "next_state", *_CONSTANTS), {**family.dims, **dims}))
        self.tensors = self._block.tensors
        self._loaded: list[int] = []

    def load(self, slots: Sequence[DeviceSlot]) -> None:
        """Bring the slots' states, and the rest only if they are others than before."""
        padded = [*slots, *[slots[-1]] * (self._count - len(slots))]
        wanted = [slot.number for slot in padded]
        if wanted != self._loaded:
            self._loaded = []  # until all of it is there
            for name in _CONSTANTS:
                gather(self._device, self.tensors[name], [slot.tensor(name) for slot in padded])
            self._loaded = wanted
        gather(self._device, self.tensors["state"], [slot.tensor("state") for slot in padded])

    def store(self, slots: Sequence[DeviceSlot]) -> None:
        """Move the slots' states on."""
        source = self.tensors["next_state"].address
        for index, slot in enumerate(slots):
            state = slot.tensor("state")
            self._device.copy(state.address, source + index * state.nbytes, state.nbytes)


def gather(device: Device, target: Bound, sources: Sequence[Bound]) -> None:
    """Copy tensors of one size into another, one after the other."""
    for index, source in enumerate(sources):
        device.copy(target.address + index * source.nbytes, source.address, source.nbytes)
