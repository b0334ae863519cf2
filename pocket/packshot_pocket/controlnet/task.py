"""Training of the ControlNet; the UNet stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from packshot_pocket.card import write_card
from packshot_pocket.controlnet.edges import choose_edges
from packshot_pocket.diffusion.latents import LatentSet, unpack_edges
from packshot_pocket.diffusion.model import make_scheduler
from packshot_pocket.diffusion.noise import draw_noised
from packshot_pocket.diffusion.sample import Sampling, paint_scenes, rows_of
from packshot_pocket.diffusion.task import CAPTION_DROPOUT
from packshot_pocket.renderer import render_studio
from packshot_pocket.text.tokenizer import token_ids

_SHEET_SEEDS = range(6)
_SHEET_SCALES = (0.0, 0.5, 1.0)


class ControlNetTask:
    """See :class:`packshot_pocket.train.loop.Task`.

    Args:
        controlnet: to be trained; like ``unet``, ``text_encoder`` and ``vae`` on the device.
        examples: on the device.
        batch_size: of a step.
        output: directory of the checkpoint.
    """

    name = "controlnet"

    def __init__(
        self,
        controlnet: ControlNetModel,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        examples: LatentSet,
        batch_size: int,
        output: Path,
    ) -> None:
        self.trained: nn.Module = controlnet
        self.called = (controlnet, unet)
        self.unet, self.text_encoder = (m.eval().requires_grad_(False) for m in (unet, text_encoder))
        self.vae, self.tokenizer, self.examples = vae, tokenizer, examples
        self.batch_size, self.output = batch_size, output
        self.scheduler = make_scheduler()
        self.empty = torch.tensor(token_ids(tokenizer, [""]), device=examples.ids.device)

    def loss(self, generator: torch.Generator, fraction: float) -> tuple[Tensor, Mapping[str, Tensor]]:
        """A batch of noised scenes with control images."""
        examples, device = self.examples, self.examples.ids.device
        chosen, noised = draw_noised(examples, self.batch_size, self.scheduler, generator)
        edges = (unpack_edges(packed[chosen]) for packed in (examples.product_edges, examples.scene_edges))
        control = choose_edges(*edges, generator).expand(-1, 3, -1, -1)
        dropped = torch.rand((self.batch_size, 1), generator=generator, device=device) < CAPTION_DROPOUT
        with torch.no_grad():
            prompt = self.text_encoder(torch.where(dropped, self.empty, examples.ids[chosen]))[0]
        down, middle = self.trained(noised.sample, noised.timesteps, prompt, control, return_dict=False)
        prediction = self.unet(
            noised.sample,
            noised.timesteps,
            prompt,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return noised.loss(prediction), {}

    def publish(self, averaged: nn.Module) -> None:
        """Write the ControlNet in half precision."""
        copy.deepcopy(averaged).half().cpu().save_pretrained(self.output)
        write_card(self.output, "packshot_pocket.train")

    def sheet(self, averaged: nn.Module) -> np.ndarray:
        """Held-out scenes, and what is painted with their edges at rising scales."""
        scenes = [render_studio(seed, 256, "held_out") for seed in _SHEET_SEEDS]
        models = (self.unet, self.text_encoder, self.vae, self.tokenizer)
        painted = [
            paint_scenes(scenes, *models, Sampling(controlnet_conditioning_scale=scale), averaged)
            for scale in _SHEET_SCALES
        ]
        return rows_of(np.stack([scene.image for scene in scenes]), *painted)
