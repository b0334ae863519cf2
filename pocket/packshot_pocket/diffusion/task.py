"""Training of the text encoder and the UNet together, at first alone, then with a ControlNet."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import CLIPTextModel, CLIPTokenizer

from packshot_pocket.checkpoint import write_card, write_weights
from packshot_pocket.controlnet.edges import choose_edges
from packshot_pocket.diffusion.latents import LatentSet, unpack_edges
from packshot_pocket.diffusion.model import make_scheduler, save_checkpoint
from packshot_pocket.diffusion.noise import Noised, draw_noised
from packshot_pocket.diffusion.sample import Sampling, paint_scenes, rows_of
from packshot_pocket.renderer import render_studio
from packshot_pocket.text.encoder import Vocabulary
from packshot_pocket.text.tokenizer import token_ids

#: Share of the captions that are left out, so that there is something to guide away from.
_CAPTION_DROPOUT = 0.1
_UNKNOWN_SHARE = 0.15
_SHEET_SEEDS = range(5)


class DiffusionTask:
    """See :class:`packshot_pocket.train.loop.Task`.

    With a ControlNet, half the examples have control images. The UNet goes on learning beside it; the other
    half of the examples keeps it good without them.

    Args:
        unet, text_encoder, vae: on the device.
        controlnet: on the device; None to train without.
        examples: on the device.
        batch_size: of a step.
        output: directory of the family.
        coarse: examples of half the size, on the device.
        coarse_share: of the training, which sees these first.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        controlnet: ControlNetModel | None,
        examples: LatentSet,
        batch_size: int,
        output: Path,
        coarse: LatentSet | None = None,
        coarse_share: float = 0.0,
    ) -> None:
        trained = {"unet": unet, "text_encoder": text_encoder}
        self.name, self.called = "diffusion", (unet,)
        if controlnet is not None:
            trained["controlnet"] = controlnet
            self.name, self.called = "controlnet", (unet, controlnet)
        self._steers = controlnet is not None
        self.trained: nn.Module = nn.ModuleDict(trained)
        self.vae, self.tokenizer, self.examples = vae, tokenizer, examples
        self.coarse, self.coarse_share = coarse, coarse_share
        self.batch_size, self.output = batch_size, output
        self.scheduler = make_scheduler()
        self.vocabulary = Vocabulary(examples.ids, len(tokenizer))
        self.empty = torch.tensor(token_ids(tokenizer, [""]), device=examples.ids.device)

    def loss(self, generator: torch.Generator, fraction: float) -> tuple[Tensor, Mapping[str, Tensor]]:
        """A batch of noised scenes; small ones at first, to learn what goes where from many."""
        coarse = self.coarse if fraction < self.coarse_share else None
        examples = coarse or self.examples
        device = examples.ids.device
        chosen, noised = draw_noised(examples, self.batch_size, self.scheduler, generator)
        ids = self.vocabulary.sprinkle(
            examples.ids[chosen], _UNKNOWN_SHARE, generator, self.tokenizer.eos_token_id
        )
        dropped = torch.rand((self.batch_size, 1), generator=generator, device=device) < _CAPTION_DROPOUT
        prompt = self.trained["text_encoder"](torch.where(dropped, self.empty, ids))[0]
        residuals = {}
        if self._steers:
            residuals = self._steer(noised, prompt, examples, chosen, generator)
        prediction = self.trained["unet"](noised.sample, noised.timesteps, prompt, **residuals).sample
        return noised.loss(prediction), {}

    def _steer(
        self,
        noised: Noised,
        prompt: Tensor,
        examples: LatentSet,
        chosen: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        """What the ControlNet adds to the UNet: nothing to the second half of the batch."""
        steered = (self.batch_size + 1) // 2
        packed = (examples.product_edges[chosen[:steered]], examples.scene_edges[chosen[:steered]])
        control = choose_edges(*(unpack_edges(edges) for edges in packed), generator)
        down, middle = self.trained["controlnet"](
            noised.sample[:steered],
            noised.timesteps[:steered],
            prompt[:steered],
            control.expand(-1, 3, -1, -1),
            return_dict=False,
        )
        free = (0, 0) * 3 + (0, self.batch_size - steered)
        return {
            "down_block_additional_residuals": [pad(residual, free) for residual in down],
            "mid_block_additional_residual": pad(middle, free),
        }

    def publish(self, averaged: nn.Module) -> None:
        """Write the ControlNet if there is one, UNet, text encoder, tokenizer and scheduler."""
        final = copy.deepcopy(averaged).cpu()
        self.vocabulary.settle(final["text_encoder"])
        save_checkpoint(self.output / "diffusion", final["unet"], final["text_encoder"], self.tokenizer)
        if self._steers:
            write_weights(final["controlnet"], self.output / "controlnet")
            write_card(self.output / "controlnet", "packshot_pocket.train")

    def sheet(self, averaged: nn.Module) -> np.ndarray:
        """Held-out scenes above what is painted in their place: with their edges at rising scales, too."""
        scenes = [render_studio(seed, 256, "held_out") for seed in _SHEET_SEEDS]
        models = (averaged["unet"], averaged["text_encoder"], self.vae, self.tokenizer)
        rows = [paint_scenes(scenes, *models, Sampling())]
        if self._steers:
            scales = [Sampling(controlnet_conditioning_scale=scale) for scale in (0.5, 1.0)]
            rows += [paint_scenes(scenes, *models, scale, averaged["controlnet"]) for scale in scales]
        return rows_of(np.stack([scene.image for scene in scenes]), *rows)
