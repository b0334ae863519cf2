"""Pictures from the models in memory, for the sheets of a training."""

from __future__ import annotations

from collections.abc import Sequence

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


@torch.no_grad()
def paint_scenes(
    scenes: Sequence[Scene],
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    controlnet: ControlNetModel | None = None,
    controlnet_conditioning_scale: float = 1.0,
    whole_edges: bool = False,
    num_inference_steps: int = 20,
    guidance_scale: float = 2.0,
    seed: int = 0,
) -> np.ndarray:
    """Repaint scenes from their captions around their products.

    Args:
        whole_edges: the control image is Canny of the whole scene instead of the product's.

    Returns:
        uint8 [N, H, W, 3], the products pasted back.
    """
    device = next(unet.parameters()).device
    alphas = np.stack([scene.alpha for scene in scenes])
    products = np.stack([composite(scene.foreground, scene.alpha) for scene in scenes])
    pixels, masks = masked_pixels(torch.from_numpy(products).to(device), torch.from_numpy(alphas).to(device))
    masked = vae.encode(pixels).latent_dist.mode().float()
    ids = torch.tensor(token_ids(tokenizer, [scene.caption for scene in scenes] + [""] * len(scenes)))
    prompt = text_encoder(ids.to(device))[0]
    maps = [
        canny(scene.image) if whole_edges else canny(p, alpha=scene.alpha)
        for scene, p in zip(scenes, products, strict=True)
    ]
    control = torch.from_numpy(np.stack(maps)).to(device).float()[:, None] / 255
    control = control.expand(-1, 3, -1, -1).repeat(2, 1, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(masked.shape, generator=generator).to(device)
    scheduler = make_scheduler()
    scheduler.set_timesteps(num_inference_steps)
    for timestep in scheduler.timesteps:
        sample = torch.cat([latents, masks, masked], dim=1).repeat(2, 1, 1, 1)
        residuals = {}
        if controlnet is not None:
            down, middle = controlnet(
                sample, timestep, prompt, control, controlnet_conditioning_scale, return_dict=False
            )
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        wanted, plain = unet(sample, timestep, prompt, **residuals).sample.float().chunk(2)
        guided = plain + guidance_scale * (wanted - plain)
        latents = scheduler.step(guided, timestep, latents).prev_sample
    decoded = torch.cat([vae.decode(latent).sample for latent in latents.split(1)])
    return _pasted(to_images(decoded), scenes)


def _pasted(painted: Tensor, scenes: Sequence[Scene]) -> np.ndarray:
    alpha = np.stack([scene.alpha for scene in scenes])[..., None].astype(np.float32) / 255
    foreground = np.stack([scene.foreground for scene in scenes])
    return np.rint(painted.cpu().numpy() * (1 - alpha) + foreground * alpha).astype(np.uint8)


def rows_of(*rows: np.ndarray) -> np.ndarray:
    """Pictures [N, H, W, 3] beside each other, rows below each other."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
