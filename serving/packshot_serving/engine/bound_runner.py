"""A step runner that keeps the slots on its device and binds its buffers once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from packshot.family import Family
from packshot_serving.engine.buckets import Bucket
from packshot_serving.engine.device import Device, Memory, Rows
from packshot_serving.engine.padding import pad_batch
from packshot_serving.engine.program import Bound, Program
from packshot_serving.engine.resident import DeviceSlot
from packshot_serving.engine.runner import SlotTensors, StepNumbers
from packshot_serving.engine.sizes import Sizes
from packshot_serving.engine.slot_buffers import SlotBuffers

#: Of the host's memory for a step's numbers, and for its samples, at first.
_STAGING_BYTES = 2**16
#: Sizes whose buffers and recordings are kept: programs cannot let go of a single recording.
MAX_BUCKETS = 96


class BoundStepRunner:
    """A :class:`ResidentRunner`, on ONNX Runtime or TensorRT.

    A slot's latents, history and conditioning go to the device once. Each step of some slots gathers
    their states into the buffers of a :class:`Bucket`, runs it, and moves the states on, all of it on
    the device and in one stream; the host sends the step's numbers, reads the samples to see whether
    they are finite, and waits once. On CUDA each bucket's run is recorded as a CUDA graph.

    Args:
        programs: of ``step`` and ``control_embedding``, on the device.
        family: what they were made from.
        device: where to compute.
    """

    def __init__(self, programs: tuple[Program, Program], family: Family, device: Device) -> None:
        self._family, self._device = family, device
        self._step, self._control = programs
        self._buckets: dict[Sizes, Bucket] = {}
        self._sent = device.staging(_STAGING_BYTES)
        self._received = device.staging(_STAGING_BYTES)

    def admit(self, tensors: SlotTensors) -> DeviceSlot:
        """See :meth:`ResidentRunner.admit`."""
        dims, (height, width) = self._family.dims, tensors.state.shape[-2:]
        slot = DeviceSlot(self._device, tensors, (dims["K"], dims["G"], height, width))
        self._embed(np.ascontiguousarray(tensors.control_image), slot)
        return slot

    def most_slots(self, lane: tuple[int, int]) -> int | None:
        """See :meth:`ResidentRunner.most_slots`."""
        return self._step.longest("mask_latents", (1, *lane))

    def step_resident(self, slots: Sequence[DeviceSlot], numbers: StepNumbers) -> tuple[np.ndarray, int]:
        """See :meth:`ResidentRunner.step_resident`."""
        bucket = self._bucket(Sizes.holding(numbers, slots[0]))
        sizes = bucket.sizes
        padded = pad_batch(numbers, sizes.slots.count, sizes.rows, sizes.control_rows)
        # Both before the states move on: a step that fails after that would be taken a second time.
        self._sent = self._at_least(self._sent, bucket.numbers.nbytes)
        self._received = self._at_least(self._received, len(slots) * slots[0].sample_nbytes)
        bucket.load(slots, padded, self._sent)
        bucket.run()
        bucket.slots.store(slots)
        return self._finite(bucket, slots), sizes.rows

    def _finite(self, bucket: Bucket, slots: Sequence[DeviceSlot]) -> np.ndarray:
        """Wait for the step; whether each slot's sample, the first latents of its state, is finite."""
        states, sample = bucket.slots.tensors["next_state"].address, slots[0].sample_nbytes
        target = Rows(self._received.ctypes.data, sample)
        source = Rows(states, slots[0].tensor("state").nbytes)
        self._device.copy_rows(target, source, sample, len(slots))
        self._device.wait()
        samples = self._received[: len(slots) * sample].view(np.float32)
        return np.isfinite(samples).reshape(len(slots), -1).all(axis=1)

    def _bucket(self, sizes: Sizes) -> Bucket:
        if sizes in self._buckets:
            return self._buckets[sizes]
        kept = len(self._buckets) < MAX_BUCKETS
        shared = (other.slots for other in self._buckets.values() if other.sizes.slots == sizes.slots)
        slots = next(shared, None) or SlotBuffers(self._device, self._family, sizes.slots)
        bucket = Bucket(self._step, self._device, self._family, sizes, slots, repeated=kept)
        if kept:
            self._buckets[sizes] = bucket
        return bucket

    def _embed(self, control_image: np.ndarray, slot: DeviceSlot) -> None:
        """The control image's embedding, straight to its place; waits for it and for what came before."""
        pixels = Memory(self._device.name, control_image.nbytes)
        self._device.copy(pixels.address, control_image.ctypes.data, control_image.nbytes)
        embedding = slot.tensor("control_embedding")
        tensors = {
            "control_image": Bound(pixels.address, (1, *control_image.shape), np.uint8),
            "control_embedding": Bound(embedding.address, (1, *embedding.shape), embedding.dtype),
        }
        self._control.bind(tensors, repeated=False)()
        self._device.wait()

    def _at_least(self, staging: np.ndarray, nbytes: int) -> np.ndarray:
        return staging if len(staging) >= nbytes else self._device.staging(2 * nbytes)
