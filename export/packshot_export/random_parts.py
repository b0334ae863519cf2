"""Random weights under which no part of the pipeline degenerates.

Freshly initialised models are not good enough to test with: a ControlNet's outputs are zero, SAM's
positional parameters are zero, and a VAE maps noise to an almost constant grey. Here every parameter
counts, and the outputs have the spread of trained ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, SamConfig, SamModel

from packshot_export.families import FamilySpec

_LATENT_CHANNELS = 4
_SCALING_FACTOR = 0.18215
#: Of what a UNet's random weights say. The same error of epsilon moves a latent further than one of v.
_PREDICTION_SPREAD = {"epsilon": 0.1, "v_prediction": 0.3}
#: Of the prompt's influence: trained UNets listen to it, random ones average it away.
_CROSS_ATTENTION_GAIN = 4.0
#: Spread of a ControlNet's residuals against that of the features they are added to.
_RESIDUAL_GAIN = 1.0


def make_text_encoder(spec: FamilySpec, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text encoder of ``spec.cross_attention_dim``."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.cross_attention_dim,
        intermediate_size=spec.mlp_ratio * spec.cross_attention_dim,
        num_hidden_layers=spec.text_layers,
        num_attention_heads=spec.text_heads,
        hidden_act=spec.text_act,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=4.0,
    )
    return CLIPTextModel(config).eval()


def make_unet(spec: FamilySpec) -> UNet2DConditionModel:
    """A 9-channel inpainting UNet with predictions that keep latents bounded."""
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=2 * _LATENT_CHANNELS + 1,
        out_channels=_LATENT_CHANNELS,
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * (len(spec.block_out_channels) - 1)),
        **_encoder_config(spec),
    ).eval()
    for name, parameter in unet.named_parameters():
        if ".attn2.to_out.0.weight" in name:
            parameter.mul_(_CROSS_ATTENTION_GAIN)
    sample = torch.randn(2, 2 * _LATENT_CHANNELS + 1, 16, 16)
    prompt = torch.randn(2, 8, spec.cross_attention_dim)
    spread = _PREDICTION_SPREAD[spec.prediction_type]
    _fit_spread(unet.conv_out, lambda: unet(sample, torch.tensor([901.0, 101.0]), prompt).sample, spread)
    if spec.prediction_type == "epsilon":
        _predict_the_sample(unet)
    return unet


def _predict_the_sample(unet: UNet2DConditionModel) -> None:
    """Make the UNet answer "the sample is noise", plus what its random weights say.

    A prediction of epsilon that has nothing to do with the sample lets latents grow fifteenfold, where
    rounding errors grow too. (For v-prediction the neutral answer is 0, which random weights give.)

    Each latent channel goes through the first skip connection as a pair +x, −x, past everything that
    would mix it, into a normalisation group of its own; and silu(x) − silu(−x) = x.
    """
    last = unet.up_blocks[-1]
    resnet, width = last.resnets[-1], unet.config.block_out_channels[0]
    for channel, latent, sign in _noise_channels(unet):
        for layer in (unet.conv_in, resnet.conv2, resnet.conv_shortcut, last.attentions[-1].proj_out):
            layer.weight[channel] = 0.0
            layer.bias[channel] = 0.0
        unet.conv_in.weight[channel, latent, 1, 1] = sign
        resnet.conv_shortcut.weight[channel, -width + channel] = 1.0  # the skip comes last
        unet.conv_out.weight[:, channel] = 0.0
        unet.conv_out.weight[latent, channel, 1, 1] = sign
    sample = torch.randn(4, unet.config.in_channels, 16, 16)
    prompt = torch.randn(4, 8, unet.config.cross_attention_dim)
    prediction = unet(sample, torch.tensor(500.0), prompt).sample
    latents = sample[:, :_LATENT_CHANNELS]
    slope = _rounded((prediction * latents).mean() / latents.square().mean())
    for channel, latent, _ in _noise_channels(unet):
        unet.conv_out.weight[latent, channel] /= slope


def _noise_channels(unet: UNet2DConditionModel) -> list[tuple[int, int, float]]:
    """Channels of the first features that carry the sample: channel, latent, sign."""
    group = unet.config.block_out_channels[0] // unet.config.norm_num_groups
    return [
        (latent * group + offset, latent, sign)
        for latent in range(_LATENT_CHANNELS)
        for offset, sign in ((0, 1.0), (1, -1.0))
    ]


def make_controlnet(spec: FamilySpec, unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet for ``unet`` whose residuals matter."""
    controlnet = ControlNetModel(
        in_channels=spec.controlnet_in_channels,
        conditioning_embedding_out_channels=spec.conditioning_channels,
        **_encoder_config(spec),
    ).eval()
    for zero in controlnet.controlnet_down_blocks:
        _randomise(zero)
    _randomise(controlnet.controlnet_mid_block)
    sample = torch.randn(2, unet.config.in_channels, 16, 16)
    control = (torch.rand(2, 3, 128, 128) > 0.9).float()
    _make_sensitive(controlnet.controlnet_cond_embedding, control)
    prompt = torch.randn(2, 8, spec.cross_attention_dim)

    def residuals() -> list[Tensor]:
        output = controlnet(
            sample[:, : spec.controlnet_in_channels], torch.tensor([500.0] * 2), prompt, control
        )
        return [*output.down_block_res_samples, output.mid_block_res_sample]

    spreads = [residual.std().item() for residual in residuals()]
    blocks = [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]
    for block, spread in zip(blocks, spreads, strict=True):
        block.weight.mul_(_rounded(_RESIDUAL_GAIN / spread))
    if spec.prediction_type == "epsilon":
        for channel, _, _ in _noise_channels(unet):
            controlnet.controlnet_down_blocks[0].weight[channel] = 0.0
            controlnet.controlnet_down_blocks[0].bias[channel] = 0.0
    return controlnet


def make_vae(spec: FamilySpec) -> AutoencoderKL:
    """A VAE with unit-spread latents (after scaling) and pictures that use the whole range."""
    levels = len(spec.vae_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=spec.vae_channels,
        layers_per_block=spec.vae_layers_per_block,
        latent_channels=_LATENT_CHANNELS,
        norm_num_groups=spec.norm_num_groups,
        sample_size=256,
        scaling_factor=_SCALING_FACTOR,
    ).eval()
    picture = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = torch.randn(2, _LATENT_CHANNELS, 8, 8) / _SCALING_FACTOR
    _fit_spread(vae.encoder.conv_out, lambda: vae.encode(picture).latent_dist.mode(), 1 / _SCALING_FACTOR)
    _fit_spread(vae.decoder.conv_out, lambda: vae.decode(latents).sample, 0.5)
    return vae


def scheduler_config(spec: FamilySpec) -> dict[str, object]:
    """``scheduler_config.json`` as Stable Diffusion's checkpoints have it.

    ``clip_sample`` is none of PNDM's, but they carry it for whoever makes a DDIM scheduler of this config.
    """
    return {
        "_class_name": "PNDMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": spec.prediction_type,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    }


def make_sam(spec: FamilySpec) -> SamModel:
    """A SAM whose masks and predicted IoUs depend on the photo and on the prompt."""
    patch, hidden = 16, spec.sam_output_channels
    config = SamConfig(
        vision_config={
            "hidden_size": spec.sam_hidden_size,
            "output_channels": hidden,
            "num_hidden_layers": spec.sam_layers,
            "num_attention_heads": spec.sam_heads,
            "image_size": spec.sam_image_size,
            "patch_size": patch,
            "window_size": spec.sam_window_size,
            "global_attn_indexes": list(spec.sam_global_layers),
            "mlp_dim": spec.mlp_ratio * spec.sam_hidden_size,
            "num_pos_feats": hidden // 2,
        },
        prompt_encoder_config={
            "hidden_size": hidden,
            "image_size": spec.sam_image_size,
            "patch_size": patch,
            "image_embedding_size": spec.sam_image_size // patch,
        },
        mask_decoder_config={
            "hidden_size": hidden,
            "mlp_dim": spec.mlp_ratio * hidden,
            "num_attention_heads": spec.sam_decoder_heads,
            "iou_head_hidden_dim": hidden,
        },
    )
    sam = SamModel(config).eval()
    for name, parameter in sam.named_parameters():
        if parameter.ndim == 1 or "positional_embedding" in name:
            continue
        parameter.normal_(std=1.5 / _fan_in(name, parameter) ** 0.5)
    return sam


def sam_preprocessor(spec: FamilySpec) -> dict[str, object]:
    """``preprocessor_config.json`` of a SAM checkpoint."""
    side = spec.sam_image_size
    return {
        "image_processor_type": "SamImageProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "pad_size": {"height": side, "width": side},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": side},
    }


def _encoder_config(spec: FamilySpec) -> dict[str, object]:
    """What a UNet and its ControlNets have in common."""
    levels = len(spec.block_out_channels)
    return {
        "down_block_types": (*("CrossAttnDownBlock2D",) * (levels - 1), "DownBlock2D"),
        "block_out_channels": spec.block_out_channels,
        "layers_per_block": spec.layers_per_block,
        "cross_attention_dim": spec.cross_attention_dim,
        "attention_head_dim": spec.attention_head_dim,
        "use_linear_projection": spec.use_linear_projection,
        "norm_num_groups": spec.norm_num_groups,
    }


def _fit_spread(last: nn.Conv2d, output: Callable[[], Tensor], spread: float) -> None:
    """Scale and centre a model's last convolution so that its output has mean 0 and this spread."""
    last.weight.mul_(_rounded(spread / output().std()))
    if last.bias is not None:
        last.bias.zero_()


def _rounded(factor: Tensor | float) -> float:
    """Two digits: a sum's last bits depend on the number of threads, and weights must not."""
    return float(f"{float(factor):.2g}")


def _make_sensitive(embedding: nn.Module, control: Tensor) -> None:
    """Make a ControlNet's embedding vary with the edges, not only from channel to channel."""
    for layer in embedding.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.normal_(std=2 / layer.weight[0].numel() ** 0.5)
            layer.bias.zero_()
    output = embedding(control)
    variation = output - output.mean(dim=(0, 2, 3), keepdim=True)
    embedding.conv_out.weight.mul_(_rounded(_RESIDUAL_GAIN / variation.std()))


def _randomise(conv: nn.Module) -> None:
    if isinstance(conv, nn.Conv2d):
        conv.reset_parameters()


def _fan_in(name: str, parameter: Tensor) -> int:
    """How many values are summed; one for tables, whose rows are taken as they are."""
    if ("embed" in name and "projection" not in name) or "token.weight" in name or "tokens.weight" in name:
        return 1 if parameter.ndim == 2 else parameter[0].numel()
    return parameter.shape[-1] if parameter.ndim == 2 else parameter[0].numel()
