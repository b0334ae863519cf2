"""Training of the text encoder and the UNet together."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from packshot_pocket.diffusion.latents import LatentSet
from packshot_pocket.diffusion.model import make_scheduler, save_checkpoint
from packshot_pocket.diffusion.noise import draw_noised
from packshot_pocket.diffusion.sample import Sampling, paint_scenes, rows_of
from packshot_pocket.renderer import render_studio
from packshot_pocket.text.encoder import Vocabulary
from packshot_pocket.text.tokenizer import token_ids

#: Share of the captions that are left out, so that there is something to guide away from.
CAPTION_DROPOUT = 0.1
_UNKNOWN_SHARE = 0.15
_SHEET_SEEDS = range(8)


class DiffusionTask:
    """See :class:`packshot_pocket.train.loop.Task`.

    Args:
        unet, text_encoder, vae: on the device.
        examples: on the device.
        coarse: the same at half the size, on the device.
        coarse_share: of the training, which sees these first.
        batch_size: of a step.
        output: directory of the checkpoint, without the VAE.
    """

    name = "diffusion"

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        examples: LatentSet,
        coarse: LatentSet,
        coarse_share: float,
        batch_size: int,
        output: Path,
    ) -> None:
        self.trained: nn.Module = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
        self.called = (unet,)
        self.vae, self.tokenizer, self.examples = vae, tokenizer, examples
        self.coarse, self.coarse_share = coarse, coarse_share
        self.batch_size, self.output = batch_size, output
        self.scheduler = make_scheduler()
        self.vocabulary = Vocabulary(examples.ids, len(tokenizer))
        self.empty = torch.tensor(token_ids(tokenizer, [""]), device=examples.ids.device)

    def loss(self, generator: torch.Generator, fraction: float) -> tuple[Tensor, Mapping[str, Tensor]]:
        """A batch of noised scenes; small ones at first, to learn what goes where from many."""
        examples = self.coarse if fraction < self.coarse_share else self.examples
        device = examples.ids.device
        chosen, noised = draw_noised(examples, self.batch_size, self.scheduler, generator)
        ids = self.vocabulary.sprinkle(
            examples.ids[chosen], _UNKNOWN_SHARE, generator, self.tokenizer.eos_token_id
        )
        dropped = torch.rand((self.batch_size, 1), generator=generator, device=device) < CAPTION_DROPOUT
        prompt = self.trained["text_encoder"](torch.where(dropped, self.empty, ids))[0]
        prediction = self.trained["unet"](noised.sample, noised.timesteps, prompt).sample
        return noised.loss(prediction), {}

    def publish(self, averaged: nn.Module) -> None:
        """Write UNet, text encoder, tokenizer and scheduler."""
        final = copy.deepcopy(averaged).cpu()
        self.vocabulary.settle(final["text_encoder"])
        save_checkpoint(self.output, final["unet"], final["text_encoder"], self.tokenizer)

    def sheet(self, averaged: nn.Module) -> np.ndarray:
        """Held-out scenes above what is painted in their place."""
        scenes = [render_studio(seed, 256, "held_out") for seed in _SHEET_SEEDS]
        models = (averaged["unet"], averaged["text_encoder"], self.vae, self.tokenizer)
        painted = paint_scenes(scenes, *models, Sampling())
        return rows_of(np.stack([scene.image for scene in scenes]), painted)
