"""diffusers and transformers on the checkpoints that were exported: what the server must match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetInpaintPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.controlnet import pipeline_controlnet_inpaint
from diffusers.schedulers import scheduling_euler_ancestral_discrete
from PIL import Image

from packshot.parameters import PER_CONTROLNET
from packshot_serving.engine.noise import step_noise
from tests.families import controlnets
from tests.integration.generations import Generation
from tests.serving.engine.scheduler_runs import CLASSES


class Reference:
    """``StableDiffusionControlNetInpaintPipeline`` on a family's checkpoints."""

    def __init__(self, checkpoints: Path) -> None:
        controlnet = [ControlNetModel.from_pretrained(path) for path in controlnets(checkpoints)]
        self.pipeline: Any = StableDiffusionControlNetInpaintPipeline.from_pretrained(
            checkpoints / "diffusion", controlnet=controlnet, safety_checker=None
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.config = self.pipeline.scheduler.config

    def generate(self, generation: Generation) -> tuple[np.ndarray, np.ndarray]:
        """Latents float32[C,h,w] and picture uint8[H,W,3]."""
        parameters = generation.parameters
        scheduler_class, options = CLASSES[parameters.scheduler]
        self.pipeline.scheduler = scheduler_class.from_config(self.config, **options)
        height, width = generation.mask_image.shape
        arguments = parameters.as_dict()
        del arguments["scheduler"], arguments["guidance_end"]
        count = len(generation.control_image)
        arguments |= {name: list(parameters.per_controlnet(name, count)) for name in PER_CONTROLNET}
        steps = iter(range(parameters.num_inference_steps))

        def noise(shape: torch.Size, **_: object) -> torch.Tensor:
            """The noise of ``euler_ancestral`` comes from the request's seed, here 0, in ours."""
            return torch.from_numpy(step_noise(0, next(steps), tuple(shape)))

        # Given as ``latents``, noise would take the place of a picture to start from.
        given = torch.from_numpy(generation.latents)[None]
        initial = mock.patch.object(pipeline_controlnet_inpaint, "randn_tensor", return_value=given)
        ancestral = mock.patch.object(scheduling_euler_ancestral_discrete, "randn_tensor", noise)
        with torch.no_grad(), _posterior_at_its_mode(), initial, ancestral:
            latents = self.pipeline(
                prompt=generation.prompt,
                negative_prompt=generation.negative_prompt,
                image=Image.fromarray(generation.image),
                mask_image=Image.fromarray(generation.mask_image),
                control_image=[Image.fromarray(edges).convert("RGB") for edges in generation.control_image],
                height=height,
                width=width,
                output_type="latent",
                callback_on_step_end=_guidance_until(parameters.guidance_end),
                callback_on_step_end_tensor_inputs=["prompt_embeds"],
                **arguments,
            ).images
            decoded = self.pipeline.vae.decode(latents / self.pipeline.vae.config.scaling_factor).sample
            picture = self.pipeline.image_processor.postprocess(decoded, output_type="pil")[0]
        return latents[0].numpy(), np.asarray(picture)


def _guidance_until(guidance_end: float) -> Callable[..., dict[str, torch.Tensor]]:
    """A callback after which both rows of a step have the prompt: guidance then adds their difference, 0.

    It cannot keep guidance away from the first step.
    """

    def after_step(pipeline: Any, step: int, _: object, tensors: dict[str, torch.Tensor]) -> dict:
        if pipeline.do_classifier_free_guidance and (step + 2) / pipeline.num_timesteps > guidance_end:
            prompt = tensors["prompt_embeds"].chunk(2)[1]
            tensors["prompt_embeds"] = torch.cat([prompt, prompt])
        return tensors

    return after_step


class _posterior_at_its_mode:
    """diffusers samples the posterior of the masked image; we take its mode, and so must it here."""

    def __enter__(self) -> None:
        self.sample = DiagonalGaussianDistribution.sample
        DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        DiagonalGaussianDistribution.sample = self.sample  # type: ignore[method-assign]
