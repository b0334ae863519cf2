"""How far a picture is, while the server works on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from packshot.contract import PREVIEW_IMAGE, PROGRESS


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A report of ``generate_stream``.

    Attributes:
        seed: of the picture.
        queue_position: 1 if it is the next to begin; 0 once it has begun, and before the denoiser has it.
        step: denoising steps taken.
        num_steps: steps in all (``pndm`` takes one more than ``num_inference_steps``, ``strength``
            leaves some out); 0 before the denoiser has it.
        preview_image: uint8 [H, W, 3], RGB, what the noisy latents look like; None in most reports.
    """

    seed: int
    queue_position: int
    step: int
    num_steps: int
    preview_image: np.ndarray | None = None

    @classmethod
    def from_outputs(cls, seed: int, outputs: Mapping[str, np.ndarray]) -> StepProgress:
        """From a response's tensors, without batch axis."""
        numbers = {tensor.name: int(outputs[tensor.name].item()) for tensor in PROGRESS}
        return cls(seed, **numbers, preview_image=outputs.get(PREVIEW_IMAGE.name))


OnStep = Callable[[StepProgress], None]
