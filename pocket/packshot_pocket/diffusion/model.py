"""The UNet, the scheduler, and the files of a diffusion checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from packshot_export.families import model_index
from packshot_pocket.checkpoint import write_card, write_weights
from packshot_pocket.vae.model import LATENT_CHANNELS

#: Latents, mask, masked image's latents.
IN_CHANNELS = 2 * LATENT_CHANNELS + 1
#: What suits the models where a caller says nothing: they know few words, and know them well, so that the
#: guidance of large models would paint every colour glaring.
GENERATION_CONFIG = {
    "num_inference_steps": 20,
    "guidance_scale": 2.0,
    "controlnet_conditioning_scale": 1.0,
}


@dataclass(frozen=True, slots=True)
class UnetSpec:
    """Sizes of the UNet.

    Attributes:
        channels: of its three resolutions: 32, 16 and 8 for pictures of 256 pixels.
        heads: of the attention there, 32 wide: fast kernels want multiples of 8. (diffusers'
            ``attention_head_dim`` means their number.)
        groups: of the normalisations.
    """

    channels: tuple[int, int, int] = (64, 128, 160)
    heads: tuple[int, int, int] = (2, 4, 5)
    groups: int = 16


def shared_config(spec: UnetSpec, width: int) -> dict[str, Any]:
    """What a UNet and its ControlNets must have in common.

    Args:
        width: of the prompt embeddings.
    """
    return {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "block_out_channels": spec.channels,
        "layers_per_block": 1,
        "attention_head_dim": spec.heads,
        "cross_attention_dim": width,
        "norm_num_groups": spec.groups,
        "use_linear_projection": True,
    }


def make_unet(spec: UnetSpec, width: int) -> UNet2DConditionModel:
    """A fresh UNet.

    On its way up it attends at every resolution: a horizon is straight across the whole picture. On
    its way down not at the finest, which would cost a fifth of the time.
    """
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=IN_CHANNELS,
        out_channels=LATENT_CHANNELS,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        **shared_config(spec, width),
    )


def make_scheduler() -> DDIMScheduler:
    """The noise schedule: it ends in pure noise (zero signal), which backdrops of one colour need."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )


def save_checkpoint(
    folder: Path, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> None:
    """Write all of a diffusion checkpoint but its VAE, in diffusers' layout and half precision."""
    write_weights(unet, folder / "unet")
    text_encoder.half().save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    make_scheduler().save_pretrained(folder / "scheduler")
    write_card(folder, "packshot_pocket.train")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION_CONFIG, indent=2) + "\n")
    (folder / "model_index.json").write_text(json.dumps(model_index("DDIMScheduler"), indent=2) + "\n")
