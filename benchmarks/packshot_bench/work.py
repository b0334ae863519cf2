"""How much arithmetic a picture is, counted on the checkpoints' own modules."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel


@cache
def flop_per_picture(checkpoints: Path, side: int, steps: int) -> float:
    """Floating-point operations of a guided picture; a multiplication and an addition are two.

    Counted are convolutions and products of matrices: both prompts, the masked picture's encoding,
    ``2 · steps`` rows of UNet and ControlNet, the decoding.

    Args:
        checkpoints: directory with ``diffusion`` and one ``controlnet``; only the configs are read.
        side: of the canvas in pixels.
        steps: of the denoising.
    """
    diffusion = checkpoints / "diffusion"
    # Nothing is computed on this device: shapes are all that counting needs.
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(diffusion / "unet"))
        controlnet: Any = ControlNetModel.from_config(ControlNetModel.load_config(checkpoints / "controlnet"))
        vae: Any = AutoencoderKL.from_config(AutoencoderKL.load_config(diffusion / "vae"))
        text: Any = CLIPTextModel(CLIPTextConfig.from_pretrained(diffusion / "text_encoder"))
        small = side // 2 ** (len(vae.config.block_out_channels) - 1)
        latents = torch.empty(1, vae.config.latent_channels, small, small)
        ids = torch.zeros(1, text.config.max_position_embeddings, dtype=torch.long)
        pixels, timestep = torch.empty(1, 3, side, side), torch.zeros(1)

        def row() -> None:
            prompt = torch.empty(1, ids.shape[1], unet.config.cross_attention_dim)
            seen = torch.empty(1, controlnet.config.in_channels, small, small)
            down, middle = controlnet(seen, timestep, prompt, pixels, return_dict=False)
            sample = torch.empty(1, unet.config.in_channels, small, small)
            unet(sample, timestep, prompt, down_block_additional_residuals=down,
                 mid_block_additional_residual=middle)  # fmt: skip

        parts = (
            (lambda: text(ids), 2), (lambda: vae.encode(pixels), 1), (row, 2 * steps),
            (lambda: vae.decode(latents), 1),
        )  # fmt: skip
        return sum(_counted(part) * times for part, times in parts)


def _counted(work: Any) -> float:
    # Written out as products of matrices, attention is counted on every kind of device.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
