"""What ``diffusers.AutoencoderKL`` answers, between diffusers' own pre- and post-processing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor
from torch.nn import functional

from packshot_export.cases import Case
from packshot_export.vae_graphs import downscale_factor

#: Batch, then latent height and width; odd sides too.
_SIZES = ((1, 8, 12), (2, 33, 25))


def vae_encoder_cases(vae: AutoencoderKL) -> Iterator[Case]:
    """Several canvases, with masks of every grey: the threshold counts."""
    factor = downscale_factor(vae)
    generator = np.random.default_rng(3)
    for batch, h, w in _SIZES:
        height, width = factor * h, factor * w
        images = generator.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
        masks = generator.integers(0, 256, (batch, height, width), dtype=np.uint8)
        answers = [_encode(vae, image, mask, (h, w)) for image, mask in zip(images, masks, strict=True)]
        yield Case(
            f"{batch} of {width}x{height}",
            {"image": torch.from_numpy(images), "mask_image": torch.from_numpy(masks)},
            {
                "masked_image_latents": torch.cat([latents for latents, _ in answers]),
                "mask_latents": torch.cat([mask for _, mask in answers]),
            },
        )


def _encode(
    vae: AutoencoderKL, image: np.ndarray, mask: np.ndarray, latent_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """As ``StableDiffusionControlNetInpaintPipeline.__call__``, but for the posterior's mode."""
    factor = downscale_factor(vae)
    image_processor = VaeImageProcessor(vae_scale_factor=factor)
    mask_processor = VaeImageProcessor(
        vae_scale_factor=factor, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )
    init_image = image_processor.preprocess(image[None].astype(np.float32) / 255)
    mask_tensor = mask_processor.preprocess(mask[None, :, :, None].astype(np.float32) / 255)
    posterior = vae.encode(init_image * (mask_tensor < 0.5)).latent_dist
    latents = posterior.mode()
    if (shift := getattr(vae.config, "shift_factor", None)) is not None:
        latents = latents - shift
    return latents * vae.config.scaling_factor, functional.interpolate(mask_tensor, size=latent_size)


def vae_decoder_cases(vae: AutoencoderKL) -> Iterator[Case]:
    """Latents of several canvases."""
    factor = downscale_factor(vae)
    processor = VaeImageProcessor(vae_scale_factor=factor)
    generator = torch.Generator().manual_seed(4)
    for batch, h, w in _SIZES:
        latents = torch.randn((batch, vae.config.latent_channels, h, w), generator=generator)
        scaled = latents / vae.config.scaling_factor
        if (shift := getattr(vae.config, "shift_factor", None)) is not None:
            scaled = scaled + shift
        pictures = [
            np.asarray(picture)
            for row in scaled
            for picture in processor.postprocess(vae.decode(row[None]).sample, output_type="pil")
        ]
        image = torch.from_numpy(np.stack(pictures))
        yield Case(f"{batch} of {factor * w}x{factor * h}", {"latents": latents}, {"image": image})
