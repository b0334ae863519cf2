"""The parts of a family, opened and found to fit each other; their weights are read when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, SamConfig, SamModel

from packshot.errors import ExportError, InvalidArgument
from packshot.family import Canvas, Family, Precision
from packshot_export import compatibility
from packshot_export.checkpoints import Source, full_config, open_source
from packshot_export.loading import load_model, quiet_libraries
from packshot_serving.engine.request import asked_schedule

#: Canvas sides that a family accepts, in pixels.
_MIN_SIDE, _MAX_SIDE = 64, 1024
_TOKENIZER_FILES = (
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)

#: Latents of a side of what Stable Diffusion was trained on, where a UNet does not say.
_NATIVE_LATENTS = 64


@dataclass(frozen=True, slots=True)
class Parts:
    """A family's checkpoints.

    Attributes:
        image_processor: SAM's ``preprocessor_config.json``; empty if it has none.
    """

    family: Family
    diffusion: Source
    controlnets: tuple[Source, ...]
    sam: Source
    tokenizer: CLIPTokenizer
    image_processor: dict[str, Any]

    def sources(self) -> tuple[Source, ...]:
        """Every checkpoint once."""
        return (self.diffusion, *self.controlnets, self.sam)

    def load_unet(self) -> UNet2DConditionModel:
        """The UNet in fp32."""
        return load_model(self.diffusion, UNet2DConditionModel, "unet")

    def load_controlnets(self) -> list[ControlNetModel]:
        """The ControlNets in fp32."""
        return [load_model(source, ControlNetModel) for source in self.controlnets]

    def load_vae(self) -> AutoencoderKL:
        """The VAE in fp32."""
        return load_model(self.diffusion, AutoencoderKL, "vae")

    def load_text_encoder(self) -> CLIPTextModel:
        """The text encoder in fp32."""
        return load_model(self.diffusion, CLIPTextModel, "text_encoder")

    def load_sam(self) -> SamModel:
        """SAM in fp32."""
        return load_model(self.sam, SamModel)


def open_parts(
    diffusion: str, controlnets: Sequence[str], sam: str, precision: Precision, name: str | None = None
) -> Parts:
    """Open checkpoints and check that they fit each other. No weights are read.

    Raises:
        InvalidArgument: a checkpoint cannot be found, or does not fit another.
        ExportError: a checkpoint is of a kind that packshot cannot serve.
    """
    if not controlnets:
        raise InvalidArgument("controlnet: got none, expected at least one")
    base = open_source("diffusion", diffusion)
    unet = full_config(UNet2DConditionModel, base.config("unet/config.json"))
    compatibility.check_unet(unet)
    vae = full_config(AutoencoderKL, base.config("vae/config.json"))
    compatibility.check_vae(vae, unet)
    tokenizer = load_tokenizer(base)
    text_encoder = base.config("text_encoder/config.json")
    text_encoder = {**CLIPTextConfig.from_dict(text_encoder).to_dict(), **text_encoder}
    compatibility.check_text_encoder(text_encoder, unet, tokenizer.model_max_length)
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    nets = tuple(open_source(f"controlnet.{number}", text) for number, text in enumerate(controlnets))
    configs = [full_config(ControlNetModel, net.config("config.json")) for net in nets]
    compatibility.check_controlnets(configs, unet, factor)
    segmenter = open_source("sam", sam)
    sam_config = segmenter.config("config.json")
    compatibility.check_sam(sam_config)
    dims = {
        "C": unet["out_channels"],
        "T": tokenizer.model_max_length,
        "D": unet["cross_attention_dim"],
        "K": len(nets),
        "G": unet["block_out_channels"][0],
        **_sam_dims(SamConfig.from_dict(sam_config)),
    }
    family = Family(
        name=name or base.name.rpartition("/")[2],
        precision=precision,
        dims=dims,
        canvas=Canvas(factor, _MIN_SIDE, _MAX_SIDE, _native_side(unet, factor)),
        scheduler=base.config("scheduler/scheduler_config.json"),
        generation_config=_optional(base, "generation_config.json"),
    )
    _check_scheduler(family)
    return Parts(family, base, nets, segmenter, tokenizer, _optional(segmenter, "preprocessor_config.json"))


def _check_scheduler(family: Family) -> None:
    """Refuse a scheduler that no request could be served with.

    Raises:
        ExportError: its options rule out what the family paints with if nothing else is asked for.
    """
    asked = family.parameters({})
    try:
        asked_schedule(family, asked.scheduler, asked.num_inference_steps, asked.strength)
    except InvalidArgument as error:
        raise ExportError(f"diffusion: {error}") from None


def _native_side(unet: dict[str, Any], factor: int) -> int:
    """Pixels of a side of what the UNet was trained on."""
    latents = unet["sample_size"] or _NATIVE_LATENTS  # a number, or height and width
    side = factor * (latents if isinstance(latents, int) else max(latents))
    return min(max(side, _MIN_SIDE), _MAX_SIDE)


def _optional(source: Source, path: str) -> dict[str, Any]:
    """A JSON file of a checkpoint; empty if it has none of that name."""
    return source.config(path) if source.find(path) else {}


def load_tokenizer(source: Source) -> CLIPTokenizer:
    """The checkpoint's tokenizer.

    Raises:
        ExportError: there is none, or it does not say how long a prompt may be.
    """
    files = [file for name in _TOKENIZER_FILES if (file := source.find(f"tokenizer/{name}"))]
    if not files:
        raise ExportError(
            f"{source.part}: {source.location} has no tokenizer/; expected CLIP's tokenizer files"
        )
    folder: Path = files[0].parent
    try:
        with quiet_libraries():
            tokenizer = CLIPTokenizer.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise ExportError(f"{source.part}: {source.location}/tokenizer cannot be read: {error}") from error
    if tokenizer.model_max_length > 10_000:  # transformers' way to say "not known"
        raise ExportError(f"{source.part}: {source.location}/tokenizer has no model_max_length")
    return tokenizer


def _sam_dims(config: SamConfig) -> dict[str, int]:
    vision = config.vision_config
    side = vision.image_size // vision.patch_size
    return {"S": vision.image_size, "s": side, "E": vision.output_channels, "4s": 4 * side}
