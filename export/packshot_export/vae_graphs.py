"""The VAE's two graphs, with all pre- and post-processing inside."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from packshot.contract import MASK_THRESHOLD


def downscale_factor(vae: AutoencoderKL) -> int:
    """Pixels of a latent's side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


class VaeEncoder(nn.Module):
    """What the inpainting UNet sees of the canvas, as ``StableDiffusionInpaintPipeline`` prepares it."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        self.factor = downscale_factor(vae)
        self.scaling_factor = float(vae.config.scaling_factor)
        self.shift_factor = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def forward(self, image: Tensor, mask_image: Tensor) -> dict[str, Tensor]:
        """uint8 [B, H, W, 3] and [B, H, W] → [B, C, h, w] and [B, 1, h, w]."""
        # TensorRT knows bytes as inputs and outputs only: a cast comes first, or last.
        repaint = (mask_image.float() >= MASK_THRESHOLD)[:, None]
        pixels = image.float().permute(0, 3, 1, 2) / 255 * 2 - 1
        # Holes are 0 in [−1, 1]: mid-grey.
        masked = torch.where(repaint, 0.0, pixels).to(self.vae.dtype)
        # The mode, where diffusers samples: an image must not depend on a draw.
        mode = self.vae.encode(masked, return_dict=False)[0].mode().float()
        return {
            "masked_image_latents": (mode - self.shift_factor) * self.scaling_factor,
            # Nearest neighbour, of which torch and PIL take the first of each block.
            "mask_latents": repaint[:, :, :: self.factor, :: self.factor].float(),
        }


class VaeDecoder(nn.Module):
    """The picture, as ``VaeImageProcessor.postprocess`` makes it."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        self.scaling_factor = float(vae.config.scaling_factor)
        self.shift_factor = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def forward(self, latents: Tensor) -> dict[str, Tensor]:
        """[B, C, h, w] → uint8 [B, H, W, 3]."""
        scaled = (latents / self.scaling_factor + self.shift_factor).to(self.vae.dtype)
        decoded = self.vae.decode(scaled, return_dict=False)[0].float()
        pixels = (decoded / 2 + 0.5).clamp(0, 1) * 255
        # round is half to even, as numpy's.
        return {"image": pixels.round().permute(0, 2, 3, 1).to(torch.uint8)}
