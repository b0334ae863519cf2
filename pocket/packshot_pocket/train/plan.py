"""How much of everything: one plan for a data-centre GPU, one for a processor core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True, slots=True)
class Stage:
    """How one model is trained.

    Attributes:
        batch_size: pictures of a step.
        peak_rate: highest learning rate.
        warmup_steps: until it is reached.
        ema_decay: of the average that is kept; it looks back on a tenth of the steps at most, or the
            average is of weights that were not yet good.
        scenes: rendered scenes that are trained on.
        fine_scenes: of these, how many a UNet's training sees at full size; None for all.
    """

    batch_size: int
    peak_rate: float
    warmup_steps: int
    ema_decay: float
    scenes: int
    fine_scenes: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a family is trained.

    Attributes:
        crop: side of what the VAE sees of a picture, in pixels; in the end it is doubled.
        coarse_share: of the UNet's training, which sees the scenes at half their size.
        snapshots: amateur photos that the VAE sees besides the scenes; products come from such.
        mirrored: whether the UNet also sees every scene mirrored.
        encode_batch: pictures that the VAE encodes at once.
        size: of the rendered pictures, in pixels.
        save_every_s: seconds between states to go on from.
        sheet_every_s: seconds between sheets of samples.
    """

    vae: Stage
    diffusion: Stage
    controlnet: Stage
    crop: int
    snapshots: int
    mirrored: bool
    encode_batch: int
    coarse_share: float = 0.6
    size: int = 256
    save_every_s: float = 150.0
    sheet_every_s: float = 300.0


PLANS: dict[Device, Plan] = {
    "cuda": Plan(
        vae=Stage(64, 6e-4, 300, 0.999, 16_384),
        diffusion=Stage(512, 1.2e-3, 1000, 0.9995, 65_536),
        controlnet=Stage(512, 1e-3, 300, 0.999, 65_536),
        crop=128,
        snapshots=4_096,
        mirrored=True,
        encode_batch=256,
        save_every_s=120.0,
    ),
    "cpu": Plan(
        vae=Stage(8, 8e-4, 100, 0.998, 8_192),
        diffusion=Stage(16, 8e-4, 200, 0.995, 8_192, fine_scenes=4_096),
        controlnet=Stage(16, 6e-4, 50, 0.995, 4_096),
        crop=64,
        snapshots=1_024,
        mirrored=False,
        encode_batch=8,
        sheet_every_s=900.0,
    ),
}
