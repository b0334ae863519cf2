"""Training of the VAE on crops of rendered pictures."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from packshot_pocket.checkpoint import write_weights
from packshot_pocket.renderer import render_snapshot, render_studio
from packshot_pocket.scenes.pool import Pool
from packshot_pocket.vae.losses import Weights, psnr, reconstruction_loss
from packshot_pocket.vae.model import fold_normalisation, to_images, to_pixels

#: Share of the training after which crops are twice as large and a quarter as many: normalisations
#: shall see about as much of a picture as they will.
_LARGE_FROM = 0.7
#: Pictures that the latents' mean and spread are taken from.
_MEASURED = 256
_SHEET_SEEDS = range(6)


class VaeTask:
    """See :class:`packshot_pocket.train.loop.Task`.

    Args:
        vae: on the device.
        pools: what crops are taken from.
        crop: their side at first, in pixels.
        batch_size: of a step at first, a multiple of 4.
        output: directory of the checkpoint.
        decoder_only: leave the encoder as it is, and so the latents that UNets have learned.
    """

    name = "vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        pools: list[Pool],
        crop: int,
        batch_size: int,
        output: Path,
        decoder_only: bool = False,
    ) -> None:
        self.trained: nn.Module = vae
        self.decoder_only = decoder_only
        for module in (vae.encoder, vae.quant_conv):
            module.requires_grad_(not decoder_only)
        self.called = (vae.encoder, vae.decoder)
        self.crop, self.batch_size, self.output, self.weights = crop, batch_size, output, Weights()
        self.images = gather(pools, next(vae.parameters()).device)

    def loss(self, generator: torch.Generator, fraction: float) -> tuple[Tensor, Mapping[str, Tensor]]:
        """A batch of crops, encoded with noise and decoded."""
        large = fraction >= _LARGE_FROM
        count, side = (self.batch_size // 4, 2 * self.crop) if large else (self.batch_size, self.crop)
        pixels = to_pixels(self._crops(count, side, generator))
        posterior = self.trained.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator, device=pixels.device)
        decoded = self.trained.decode(posterior.mean + posterior.std * noise).sample.float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = reconstruction_loss(decoded, pixels, self.weights) + self.weights.divergence * divergence
        return loss, {"psnr": psnr(decoded.detach(), pixels)}

    def publish(self, averaged: nn.Module) -> None:
        """Write the VAE with normalised latents, in half precision."""
        vae = copy.deepcopy(averaged).float()
        if not self.decoder_only:
            latents = [self._latents(vae, batch) for batch in self.images[:_MEASURED].split(8)]
            flat = torch.cat(latents).transpose(0, 1).flatten(1)
            fold_normalisation(vae, flat.mean(dim=1), flat.std(dim=1))
        write_weights(vae.cpu(), self.output)

    def sheet(self, averaged: nn.Module) -> np.ndarray:
        """Held-out pictures above their reconstructions."""
        scenes = [render_studio(seed, 256, "held_out").image for seed in _SHEET_SEEDS[:-2]]
        scenes += [render_snapshot(seed, 256, "held_out").image for seed in _SHEET_SEEDS[-2:]]
        pixels = to_pixels(torch.from_numpy(np.stack(scenes)).to(self.images.device))
        decoded = [averaged.decode(averaged.encode(p).latent_dist.mode()).sample for p in pixels.split(1)]
        rows = (
            np.concatenate(scenes, axis=1),
            np.concatenate(list(to_images(torch.cat(decoded)).cpu().numpy()), axis=1),
        )
        return np.concatenate(rows)

    def _crops(self, count: int, crop: int, generator: torch.Generator) -> Tensor:
        """uint8 [count, crop, crop, 3], half of them mirrored."""
        device, (pictures, height, width) = self.images.device, self.images.shape[:3]

        def draw(high: int) -> Tensor:
            return torch.randint(high, (count, 1, 1), generator=generator, device=device)

        side = torch.arange(crop, device=device)
        rows = draw(height - crop + 1) + side[None, :, None]
        columns = draw(width - crop + 1) + torch.where(draw(2) == 0, side, side.flip(0))
        return self.images[draw(pictures), rows, columns]

    def _latents(self, vae: AutoencoderKL, images: Tensor) -> Tensor:
        with torch.no_grad():
            return vae.encode(to_pixels(images)).latent_dist.mode()


def gather(pools: list[Pool], device: torch.device, name: str = "images") -> Tensor:
    """An array of several pools, on the device: uint8 [N, H, W, …]."""
    shards = [torch.from_numpy(np.array(array)).to(device) for pool in pools for array in pool.arrays(name)]
    return torch.cat(shards)
