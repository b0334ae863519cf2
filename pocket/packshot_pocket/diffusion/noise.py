"""Noised latents, and what is to be predicted from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn.functional import max_pool2d

from packshot_pocket.diffusion.latents import LatentSet

#: Share of the examples at the last timestep: under zero terminal SNR the sampler's first step, which
#: chooses all large areas' colours, is this one timestep of a thousand.
LAST_SHARE = 0.08
#: Weight of cells that hold nothing but product: they are pasted over.
_KEPT_WEIGHT = 0.2
#: Of cells near the product, where shadows fall and halos would show, and of those at its outline: a cell is
#: what its first pixel is, so that much of one that is not to be painted may be table.
_RIM_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Noised:
    """A batch for the UNet.

    Attributes:
        sample: float32 [B, 9, h, w]: noised latents, mask, masked image's latents.
        timesteps: int64 [B].
        target: float32 [B, 4, h, w], the velocity.
        weights: float32 [B, 1, h, w], of the errors.
    """

    sample: Tensor
    timesteps: Tensor
    target: Tensor
    weights: Tensor

    def loss(self, prediction: Tensor) -> Tensor:
        """Weighted mean of the squared errors."""
        errors = (prediction.float() - self.target).square() * self.weights
        return errors.mean() / self.weights.mean()


def add_noise(
    latents: Tensor, masks: Tensor, masked: Tensor, scheduler: DDIMScheduler, generator: torch.Generator
) -> Noised:
    """Noise latents, each to a timestep of its own.

    Args:
        latents: float32 [B, 4, h, w]; ``masked`` likewise; ``masks`` [B, 1, h, w].
    """
    device, count = latents.device, len(latents)
    total = scheduler.config.num_train_timesteps
    throw = torch.rand((2, count), generator=generator, device=device)
    timesteps = torch.where(throw[0] < LAST_SHARE, total - 1, (throw[1] * total).long())
    signal = scheduler.alphas_cumprod.to(device)[timesteps].sqrt()[:, None, None, None]
    spread = (1 - signal.square()).sqrt()
    noise = torch.randn(latents.shape, generator=generator, device=device)
    target = signal * noise - spread * latents
    near = max_pool2d(1 - masks, 5, stride=1, padding=2) * masks
    outline = max_pool2d(masks, 3, stride=1, padding=1) * (1 - masks)
    rim, inside = near + outline, 1 - masks - outline
    weights = (masks - near) + rim * _RIM_WEIGHT + inside * _KEPT_WEIGHT
    sample = torch.cat([signal * latents + spread * noise, masks, masked], dim=1)
    return Noised(sample, timesteps, target, weights)


def draw_noised(
    examples: LatentSet, batch_size: int, scheduler: DDIMScheduler, generator: torch.Generator
) -> tuple[Tensor, Noised]:
    """A batch of examples, their numbers int64 [batch_size] first, noised."""
    device = examples.ids.device
    chosen = torch.randint(len(examples), (batch_size,), generator=generator, device=device)
    noised = add_noise(
        examples.latents[chosen].float(),
        examples.masks[chosen].float(),
        examples.masked[chosen].float(),
        scheduler,
        generator,
    )
    return chosen, noised
