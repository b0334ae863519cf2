"""The few sizes that batches are padded to, so that a GPU can record a step and repeat it."""

from __future__ import annotations

from dataclasses import dataclass

from packshot_serving.engine.resident import DeviceSlot
from packshot_serving.engine.runner import StepNumbers

#: At most a third more is computed than is needed. Beyond the last: multiples of 32.
_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True, slots=True)
class SlotSizes:
    """What slots' buffers are for: how many, latents in a state, latent height and width."""

    count: int
    state_size: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a bucket is for: slots, rows and ControlNet rows."""

    slots: SlotSizes
    rows: int
    control_rows: int

    @classmethod
    def holding(cls, numbers: StepNumbers, slot: DeviceSlot) -> Sizes:
        """The least that some slots' step fits into; one ControlNet row at least, as CUDA's kernels want."""
        return cls(
            SlotSizes(rung(numbers.num_slots), slot.state_size, *slot.lane),
            rung(numbers.num_rows),
            rung(max(1, numbers.num_control_rows)),
        )


def rung(count: int) -> int:
    """The least size that holds so many. Of twice as many it is at most twice the size."""
    return next((size for size in _LADDER if size >= count), -(-count // 32) * 32)


def rung_within(count: int) -> int:
    """The greatest size that so many fill."""
    return max(size for size in (*_LADDER, count // 32 * 32) if size <= count)
