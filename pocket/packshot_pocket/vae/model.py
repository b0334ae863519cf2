"""The VAE: made, and its latents' spread folded into its weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from packshot_pocket.vae.start import start_as_thumbnails

LATENT_CHANNELS = 4
#: Pixels of a latent's side.
FACTOR = 8
_FIRST_LOGVAR = -6.0


@dataclass(frozen=True, slots=True)
class VaeSpec:
    """Sizes of the VAE.

    Attributes:
        channels: of its four resolutions, from the pictures' to the latents', rising. Few at the first,
            whose pixels are most of the work: twice as many there took half as long again.
        groups: of the normalisations, at least 3; an even number of channels goes into each.

    Raises:
        ValueError: these sizes do not fit together.
    """

    channels: tuple[int, int, int, int] = (16, 48, 96, 128)
    groups: int = 4

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.channels))
        if not rising or self.groups < 3 or any(c % (2 * self.groups) for c in self.channels):
            raise ValueError(
                f"VaeSpec: got channels {self.channels} in {self.groups} groups, "
                "expected rising multiples of twice the groups, of which there are at least 3"
            )


def make_vae(spec: VaeSpec) -> AutoencoderKL:
    """A fresh VAE. Latents are not scaled by its config: see :func:`fold_normalisation`.

    It begins as a codec of thumbnails, and with little noise on its latents. With diffusers' own start
    the noise is as strong as the latents, and hundreds of steps go by before anything can be seen
    through it.
    """
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=spec.channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=spec.groups,
        sample_size=256,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    start_as_thumbnails(vae)
    with torch.no_grad():
        vae.quant_conv.weight[LATENT_CHANNELS:] = 0
        vae.quant_conv.bias[LATENT_CHANNELS:] = _FIRST_LOGVAR
    return vae


@torch.no_grad()
def fold_normalisation(vae: AutoencoderKL, mean: Tensor, spread: Tensor) -> None:
    """Make latents of mean 0 and spread 1 in every channel.

    The configs of diffusers know one factor for all channels; but the layers next to the latents are
    1×1 convolutions, into which any affine map of the channels goes without an error.

    Args:
        vae: changed in place; decodes what it encodes as before.
        mean: float [4], of its latents now. ``spread`` likewise.
    """
    encode, decode = vae.quant_conv, vae.post_quant_conv
    shift = torch.cat([mean, torch.zeros_like(mean)])
    scale = torch.cat([1 / spread, torch.ones_like(spread)])
    encode.weight.mul_(scale[:, None, None, None])
    encode.bias.sub_(shift).mul_(scale)
    encode.bias[LATENT_CHANNELS:] -= 2 * spread.log()  # the log of the variance
    decode.bias.add_(decode.weight[:, :, 0, 0] @ mean)
    decode.weight.mul_(spread[None, :, None, None])


def to_pixels(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] → float32 [B, 3, H, W] in [−1, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(pixels: Tensor) -> Tensor:
    """The inverse of :func:`to_pixels`, clipped and rounded: uint8."""
    return ((pixels.float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)
