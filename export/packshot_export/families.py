"""Families with seeded random weights, in the format of real checkpoints: small ones, and one of full size.

They have the topology of Stable Diffusion 2 and 1.5 inpainting, of their ControlNets and of SAM, so that
everything about them but the beauty of the pictures is real, and nothing has to be downloaded.

``python -m packshot_export.families NAME DIRECTORY`` writes one.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packshot.errors import PackshotError, expected


@dataclass(frozen=True, slots=True)
class FamilySpec:
    """Sizes of a random family. Names of the fields are those of the checkpoints' configs.

    Attributes:
        attention_head_dim: as in the UNet's config, where it counts heads: an integer for all blocks
            (SD1.5) or one for each block (SD2).
        cross_attention_dim: width of the prompt embeddings.
        pad_token: what the tokenizer pads with.
        sam_image_size: side of SAM's input in pixels.
        sam_global_layers: of its encoder, those whose attention has no window.
        mlp_ratio: width inside the perceptrons of CLIP and SAM, in widths of the model.
    """

    block_out_channels: tuple[int, ...]
    attention_head_dim: int | tuple[int, ...]
    use_linear_projection: bool
    cross_attention_dim: int
    prediction_type: str
    pad_token: str
    text_layers: int
    text_act: str
    layers_per_block: int = 1
    norm_num_groups: int = 4
    vae_channels: tuple[int, ...] = (8, 8, 16, 16)
    vae_layers_per_block: int = 1
    text_heads: int = 4
    conditioning_channels: tuple[int, ...] = (4, 8, 8, 16)
    controlnet_in_channels: int = 4
    num_controlnets: int = 1
    sam_image_size: int = 128
    sam_hidden_size: int = 32
    sam_layers: int = 2
    sam_heads: int = 4
    sam_window_size: int = 7
    sam_global_layers: tuple[int, ...] = (1,)
    sam_output_channels: int = 32
    sam_decoder_heads: int = 4
    mlp_ratio: int = 2
    seed: int = 0


_TINY_SD2 = FamilySpec(
    block_out_channels=(8, 16, 16, 16),
    attention_head_dim=(1, 2, 2, 4),
    use_linear_projection=True,
    cross_attention_dim=32,
    prediction_type="v_prediction",
    pad_token="!",
    text_layers=2,
    text_act="gelu",
)

#: The sizes of SD2-inpainting, its ControlNet, CLIP-H without its last layer, and SAM ViT-B, but for a small
#: vocabulary and narrower perceptrons in SAM's mask decoder: 7 GB in fp32.
FULL_SIZE = FamilySpec(
    block_out_channels=(320, 640, 1280, 1280),
    attention_head_dim=(5, 10, 20, 20),
    use_linear_projection=True,
    cross_attention_dim=1024,
    prediction_type="epsilon",
    pad_token="!",
    text_layers=23,
    text_act="gelu",
    text_heads=16,
    layers_per_block=2,
    norm_num_groups=32,
    vae_channels=(128, 256, 512, 512),
    vae_layers_per_block=2,
    conditioning_channels=(16, 32, 96, 256),
    sam_image_size=1024,
    sam_hidden_size=768,
    sam_layers=12,
    sam_heads=12,
    sam_window_size=14,
    sam_global_layers=(2, 5, 8, 11),
    sam_output_channels=256,
    sam_decoder_heads=8,
    mlp_ratio=4,
)

SPECS: dict[str, FamilySpec] = {
    "tiny-sd2": _TINY_SD2,
    "tiny-sd15": replace(
        _TINY_SD2,
        block_out_channels=(16, 16, 32, 32),
        attention_head_dim=8,
        use_linear_projection=False,
        cross_attention_dim=24,
        prediction_type="epsilon",
        pad_token="<|endoftext|>",
        text_act="quick_gelu",
        sam_output_channels=16,
        num_controlnets=2,
        seed=1,
    ),
    "full-sd2": FULL_SIZE,
}


def make_family(name: str, directory: Path) -> None:
    """Write the checkpoints of a family: ``diffusion``, ``controlnet`` and ``sam`` in ``directory``.

    Further ControlNets are ``controlnet-2`` and so on. The same name gives the same weights, with any
    number of threads.

    Raises:
        InvalidArgument: there is no family of that name.
    """
    if name not in SPECS:
        raise expected("family", repr(name), "one of " + ", ".join(SPECS))
    write_checkpoints(SPECS[name], Path(directory))


def write_checkpoints(spec: FamilySpec, directory: Path) -> None:
    """Write the checkpoints that a spec describes; see :func:`make_family`."""
    # Imported late: they take seconds, and the specs are wanted without them.
    import torch

    from packshot_export import random_parts
    from packshot_export.loading import quiet_libraries
    from packshot_export.random_tokenizer import make_tokenizer

    controlnets = ["controlnet", *(f"controlnet-{number}" for number in range(2, spec.num_controlnets + 1))]
    diffusion = directory / "diffusion"
    diffusion.mkdir(parents=True, exist_ok=True)
    with quiet_libraries(), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(spec.seed)
        tokenizer = make_tokenizer(spec.pad_token)
        unet = random_parts.make_unet(spec)
        tokenizer.save_pretrained(diffusion / "tokenizer")
        random_parts.make_text_encoder(spec, tokenizer).save_pretrained(diffusion / "text_encoder")
        random_parts.make_vae(spec).save_pretrained(diffusion / "vae")
        unet.save_pretrained(diffusion / "unet")
        for controlnet in controlnets:
            random_parts.make_controlnet(spec, unet).save_pretrained(directory / controlnet)
        random_parts.make_sam(spec).save_pretrained(directory / "sam")
    (diffusion / "scheduler").mkdir(exist_ok=True)
    for path, config in (
        (diffusion / "model_index.json", model_index("PNDMScheduler")),
        (diffusion / "scheduler" / "scheduler_config.json", random_parts.scheduler_config(spec)),
        (directory / "sam" / "preprocessor_config.json", random_parts.sam_preprocessor(spec)),
    ):
        path.write_text(json.dumps(config, indent=2) + "\n")
    for part in ("diffusion", *controlnets, "sam"):
        (directory / part / "README.md").write_text(_MODEL_CARD)


def model_index(scheduler: str) -> dict[str, Any]:
    """diffusers' ``model_index.json`` of an inpainting checkpoint with this class of scheduler."""
    return {
        "_class_name": "StableDiffusionInpaintPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


_MODEL_CARD = """---
license: apache-2.0
---
Seeded random weights, made by packshot for tests and demonstrations.
"""


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m packshot_export.families NAME DIRECTORY\n")
        return 2
    try:
        make_family(arguments[0], Path(arguments[1]))
    except PackshotError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
