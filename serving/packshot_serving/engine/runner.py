"""The seam between the engine and what computes: one batch of denoising steps at a time.

A :class:`StepRunner` is given every tensor of a step and answers with the next state: right where the
memory is the engine's own. A :class:`ResidentRunner` keeps the slots' tensors on its device; a step
then moves numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StepNumbers:
    """What of a step is small and new each time, by its names in ``contract.GRAPHS["step"]``.

    B counts slots, R rows (one or two for each slot), P rows that the ControlNets work on (none to
    all), K ControlNets, m latents of a scheduler's state. All float32 except the int64 index vectors.
    """

    transition: np.ndarray  # [B, m, m]
    gain: np.ndarray  # [B, m]
    input_scale: np.ndarray  # [B]
    timesteps: np.ndarray  # [B]
    guidance_scale: np.ndarray  # [B]
    controlnet_conditioning_scale: np.ndarray  # [B, K]
    row_slot: np.ndarray  # int64 [R]
    cond_row: np.ndarray  # int64 [B]
    uncond_row: np.ndarray  # int64 [B]
    control_row: np.ndarray  # int64 [P]
    row_residual: np.ndarray  # int64 [R]

    @property
    def num_slots(self) -> int:
        """B, the requests in this batch."""
        return len(self.timesteps)

    @property
    def num_rows(self) -> int:
        """R, the UNet's rows in this batch."""
        return len(self.row_slot)

    @property
    def num_control_rows(self) -> int:
        """P, the ControlNets' rows in this batch."""
        return len(self.control_row)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StepBatch(StepNumbers):
    """All inputs of the step graph."""

    state: np.ndarray  # [B, m, C, h, w]
    mask_latents: np.ndarray  # [B, 1, h, w]
    masked_image_latents: np.ndarray  # [B, C, h, w]
    control_embedding: np.ndarray  # [B, K, G, h, w]
    encoder_hidden_states: np.ndarray  # [R, T, D]


class StepRunner(Protocol):
    """Runs the two graphs of a denoiser.

    Called by one thread at a time. Either method may raise: the engine answers the requests concerned and
    goes on, unless the smallest step of all raises, too (see
    :class:`~packshot_serving.engine.runner_check.RunnerCheck`).
    """

    def embed_control(self, control_image: np.ndarray) -> np.ndarray:
        """The ControlNets' conditioning embedding of one request, constant over its steps.

        Args:
            control_image: uint8 [K, H, W], 0 or 255.

        Returns:
            float32 [K, G, h, w].
        """
        ...

    def step(self, batch: StepBatch) -> np.ndarray:
        """One denoising step of every slot of ``batch``.

        Returns:
            next_state, float32 [B, m, C, h, w], an array that the runner does not use again.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SlotTensors:
    """What a slot begins with, for a runner that keeps it."""

    state: np.ndarray  # float32 [m, C, h, w]
    mask_latents: np.ndarray  # float32 [1, h, w]
    masked_image_latents: np.ndarray  # float32 [C, h, w]
    prompt_embeds: np.ndarray  # float32 [T, D]
    negative_prompt_embeds: np.ndarray  # float32 [T, D]
    control_image: np.ndarray  # uint8 [K, H, W], 0 or 255


class Residence(Protocol):
    """A slot's tensors on a runner's device; their memory is free when nobody holds this any more."""

    def read(self) -> np.ndarray:
        """The state, float32 [m, C, h, w], in the host's memory; waits for it."""
        ...

    def write(self, state: np.ndarray) -> None:
        """Replace the state, float32 [m, C, h, w]."""
        ...


@runtime_checkable
class ResidentRunner(Protocol):
    """A runner with memory of its own. Called by one thread at a time.

    Either method may raise: the engine answers the requests concerned and goes on, unless the smallest
    step of all raises, too (see :class:`~packshot_serving.engine.runner_check.RunnerCheck`). A step that
    raised must have left every residence as it was, unless the device is lost.
    """

    def admit(self, tensors: SlotTensors) -> Residence:
        """Take a slot's tensors to the device, and compute its control image's embedding there.

        The arrays may be reused once this returns.
        """
        ...

    def most_slots(self, lane: tuple[int, int]) -> int | None:
        """How many slots of a latent height and width can step together; None if memory is the only end."""
        ...

    def step_resident(self, slots: Sequence[Any], numbers: StepNumbers) -> tuple[np.ndarray, int]:
        """One denoising step; the slots' states move on where they are.

        Args:
            slots: that :meth:`admit` gave, of one canvas size, as many as ``numbers`` are for.
            numbers: of this step.

        Returns:
            bool [B], whether each slot's sample is finite (what is not in its history comes to the
            sample in the next steps); and the UNet rows that were computed, padding included.
        """
        ...


Runner = StepRunner | ResidentRunner


def most_slots(runner: Runner, lane: tuple[int, int]) -> int | None:
    """See :meth:`ResidentRunner.most_slots`; other runners know no end."""
    return runner.most_slots(lane) if isinstance(runner, ResidentRunner) else None
