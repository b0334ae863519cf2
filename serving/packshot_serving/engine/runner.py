"""The seam between the engine and what computes: one batch of denoising steps at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class StepBatch:
    """The inputs of the step graph, by their names in ``contract.GRAPHS["step"]``.

    B counts slots, R rows (one or two for each slot), P rows that the ControlNets work on (none to
    all), K ControlNets, m latents of a scheduler's state. All float32 except the int64 index vectors.
    """

    state: np.ndarray  # [B, m, C, h, w]
    transition: np.ndarray  # [B, m, m]
    gain: np.ndarray  # [B, m]
    input_scale: np.ndarray  # [B]
    timesteps: np.ndarray  # [B]
    guidance_scale: np.ndarray  # [B]
    controlnet_conditioning_scale: np.ndarray  # [B, K]
    mask_latents: np.ndarray  # [B, 1, h, w]
    masked_image_latents: np.ndarray  # [B, C, h, w]
    control_embedding: np.ndarray  # [B, K, G, h, w]
    encoder_hidden_states: np.ndarray  # [R, T, D]
    row_slot: np.ndarray  # int64 [R]
    cond_row: np.ndarray  # int64 [B]
    uncond_row: np.ndarray  # int64 [B]
    control_row: np.ndarray  # int64 [P]
    row_residual: np.ndarray  # int64 [R]

    @property
    def num_slots(self) -> int:
        """B, the requests in this batch."""
        return len(self.state)

    @property
    def num_rows(self) -> int:
        """R, the UNet's rows in this batch."""
        return len(self.row_slot)

    @property
    def num_control_rows(self) -> int:
        """P, the ControlNets' rows in this batch."""
        return len(self.control_row)


class StepRunner(Protocol):
    """Runs the two graphs of a denoiser.

    ``step`` is called by the engine's thread only; ``embed_control`` by any thread, also while a
    step runs. Either may raise: the engine answers the requests concerned and goes on.
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
