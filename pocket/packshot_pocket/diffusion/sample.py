"""Pictures from the models in memory, for the sheets of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from packshot.edges import canny
from packshot_pocket.diffusion.latents import masked_pixels
from packshot_pocket.diffusion.model import make_scheduler
from packshot_pocket.renderer import Scene
from packshot_pocket.scenes.pool import composite
from packshot_pocket.text.tokenizer import token_ids
from packshot_pocket.vae.model import to_images


@dataclass(frozen=True, slots=True)
class Sampling:
    """How pictures are sampled; the words are those of diffusers' pipelines."""

    num_inference_steps: int = 20
    guidance_scale: float = 2.0
    controlnet_conditioning_scale: float = 1.0
    seed: int = 0


@torch.no_grad()
def sample_latents(
    unet: UNet2DConditionModel,
    prompt_embeds: Tensor,
    masks: Tensor,
    masked: Tensor,
    sampling: Sampling,
    controlnet: ControlNetModel | None = None,
    control: Tensor | None = None,
) -> Tensor:
    """Latents from noise, along the scheduler that is shipped.

    Args:
        prompt_embeds: [2N, T, D], of the prompts and then of the negative prompts.
        masks: [N, 1, h, w], 1 where the scene is painted.
        masked: [N, 4, h, w], latents of the products on mid-grey.
        control: [N, 3, H, W], 0 to 1; with ``controlnet``.

    Returns:
        float32 [N, 4, h, w].
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    latents = torch.randn(masked.shape, generator=generator).to(masked.device)
    doubled = control.repeat(2, 1, 1, 1) if control is not None else None
    scheduler = make_scheduler()
    scheduler.set_timesteps(sampling.num_inference_steps)
    for timestep in scheduler.timesteps:
        sample = torch.cat([latents, masks, masked], dim=1).repeat(2, 1, 1, 1)
        residuals = {}
        if controlnet is not None:
            scale = sampling.controlnet_conditioning_scale
            down, middle = controlnet(sample, timestep, prompt_embeds, doubled, scale, return_dict=False)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        wanted, unwanted = unet(sample, timestep, prompt_embeds, **residuals).sample.float().chunk(2)
        guided = unwanted + sampling.guidance_scale * (wanted - unwanted)
        latents = scheduler.step(guided, timestep, latents).prev_sample
    return latents


@torch.no_grad()
def paint_scenes(
    scenes: Sequence[Scene],
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    sampling: Sampling,
    controlnet: ControlNetModel | None = None,
) -> np.ndarray:
    """Repaint scenes from their captions around their products.

    Args:
        controlnet: is shown Canny of the whole scenes.

    Returns:
        uint8 [N, H, W, 3], the products pasted back.
    """
    device = next(unet.parameters()).device
    alphas = np.stack([scene.alpha for scene in scenes])
    products = np.stack([composite(scene.foreground, scene.alpha) for scene in scenes])
    pixels, masks = masked_pixels(torch.from_numpy(products).to(device), torch.from_numpy(alphas).to(device))
    masked = vae.encode(pixels).latent_dist.mode().float()
    ids = torch.tensor(token_ids(tokenizer, [scene.caption for scene in scenes] + [""] * len(scenes)))
    prompt_embeds = text_encoder(ids.to(device))[0]
    edges = torch.from_numpy(np.stack([canny(scene.image) for scene in scenes])).to(device)
    control = (edges.float() / 255)[:, None].expand(-1, 3, -1, -1)
    latents = sample_latents(unet, prompt_embeds, masks, masked, sampling, controlnet, control)
    decoded = torch.cat([vae.decode(latent).sample for latent in latents.split(1)])
    return _pasted(to_images(decoded), scenes)


def _pasted(painted: Tensor, scenes: Sequence[Scene]) -> np.ndarray:
    alpha = np.stack([scene.alpha for scene in scenes])[..., None].astype(np.float32) / 255
    foreground = np.stack([scene.foreground for scene in scenes])
    return np.rint(painted.cpu().numpy() * (1 - alpha) + foreground * alpha).astype(np.uint8)


def rows_of(*rows: np.ndarray) -> np.ndarray:
    """Pictures [N, H, W, 3] beside each other, rows below each other."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
