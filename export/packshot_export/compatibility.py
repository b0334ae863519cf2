"""Do the parts fit each other? Asked of their configs, before any weights are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packshot.errors import ExportError, expected

Config = Mapping[str, Any]

#: Configs of UNets that need inputs which packshot does not serve, and what they are for.
_UNSUPPORTED = {
    "addition_embed_type": "added conditions (SDXL, Kandinsky)",
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
    "encoder_hid_dim_type": "projected or image prompts",
    "encoder_hid_dim": "projected or image prompts",
    "time_cond_proj_dim": "embedded guidance (LCM)",
}


def check_unet(unet: Config) -> None:
    """Refuse UNets that are not 9-channel inpainting UNets of Stable Diffusion 1 or 2.

    Raises:
        ExportError: a kind of UNet that packshot cannot serve.
        InvalidArgument: the wrong number of input channels.
    """
    _check_supported("diffusion.unet", unet, "UNet2DConditionModel")
    if unet["center_input_sample"]:
        raise ExportError("diffusion.unet: got center_input_sample true, expected false")
    wanted = 2 * unet["out_channels"] + 1
    if unet["in_channels"] != wanted:
        raise expected(
            "diffusion.unet.in_channels",
            unet["in_channels"],
            f"{wanted} (latents {unet['out_channels']}, mask 1, masked image {unet['out_channels']}): "
            "an inpainting UNet",
        )


def check_vae(vae: Config, unet: Config) -> None:
    """The VAE's latents are the UNet's."""
    if vae.get("_class_name", "AutoencoderKL") != "AutoencoderKL":
        raise ExportError(f"diffusion.vae: got {vae['_class_name']}, expected AutoencoderKL")
    if vae["latent_channels"] != unet["out_channels"]:
        raise expected(
            "diffusion.vae.latent_channels",
            vae["latent_channels"],
            f"{unet['out_channels']}, the UNet's out_channels",
        )


def check_text_encoder(text_encoder: Config, unet: Config, max_length: int) -> None:
    """The prompt embeddings are as wide as the UNet's cross-attention, and as long as the tokenizer's ids."""
    kinds = text_encoder.get("architectures") or ["CLIPTextModel"]
    if "CLIPTextModel" not in kinds:
        raise ExportError(f"diffusion.text_encoder: got {', '.join(kinds)}, expected CLIPTextModel")
    width, wanted = text_encoder["hidden_size"], unet["cross_attention_dim"]
    if width != wanted:
        raise expected(
            "diffusion.text_encoder.hidden_size", width, f"{wanted}, the UNet's cross_attention_dim"
        )
    positions = text_encoder.get("max_position_embeddings", 77)
    if max_length > positions:
        raise expected(
            "diffusion.tokenizer.model_max_length",
            max_length,
            f"at most {positions}, the text encoder's positions",
        )


def check_controlnets(controlnets: Sequence[Config], unet: Config, factor: int) -> None:
    """Every ControlNet's residuals fit the UNet's skip connections.

    Args:
        factor: pixels of a latent's side.
    """
    for number, controlnet in enumerate(controlnets):
        part = f"controlnet.{number}"
        _check_supported(part, controlnet, "ControlNetModel")
        for name in ("cross_attention_dim", "block_out_channels", "layers_per_block"):
            got, wanted = _plain(controlnet[name]), _plain(unet[name])
            if got != wanted:
                raise expected(f"{part}.{name}", got, f"{wanted}, the UNet's")
        seen = (unet["out_channels"], unet["in_channels"])
        if controlnet["in_channels"] not in seen:
            raise expected(
                f"{part}.in_channels",
                controlnet["in_channels"],
                f"{seen[0]} (latents) or {seen[1]} (all that the UNet sees)",
            )
        halvings = len(controlnet["conditioning_embedding_out_channels"]) - 1
        if 2**halvings != factor:
            raise expected(
                f"{part}: its control embedding's downscale factor", 2**halvings, f"{factor}, the VAE's"
            )


def check_sam(sam: Config) -> None:
    """A SAM with the three masks of the contract."""
    if sam.get("model_type", "sam") != "sam":
        raise ExportError(f"sam: got a checkpoint of {sam['model_type']}, expected sam")
    masks = (sam.get("mask_decoder_config") or {}).get("num_multimask_outputs", 3)
    if masks != 3:
        raise expected("sam.mask_decoder_config.num_multimask_outputs", masks, 3)


def _check_supported(part: str, config: Config, kind: str) -> None:
    name = config.get("_class_name", kind)
    if name != kind:
        raise ExportError(f"{part}: got a {name}, expected a {kind}")
    for key, purpose in _UNSUPPORTED.items():
        if config.get(key) is not None:
            raise ExportError(f"{part}: got {key} {config[key]!r}, expected none: {purpose} cannot be served")
    if config.get("attention_type", "default") != "default":
        raise ExportError(f"{part}: got attention_type {config['attention_type']!r}, expected 'default'")
    if not isinstance(config["cross_attention_dim"], int):
        raise ExportError(
            f"{part}: got cross_attention_dim {config['cross_attention_dim']}, expected one number"
        )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
