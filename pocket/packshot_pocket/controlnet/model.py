"""The ControlNet: made from the UNet that it will steer."""

from __future__ import annotations

import math

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn

from packshot_pocket.diffusion.model import IN_CHANNELS, UnetSpec, shared_config


def make_controlnet(spec: UnetSpec, unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet that begins with the UNet's own weights and changes nothing yet.

    It sees all nine channels, so it knows where the product is.
    """
    controlnet = ControlNetModel(
        in_channels=IN_CHANNELS,
        conditioning_embedding_out_channels=(8, 16, 32, 64),
        **shared_config(spec, unet.config.cross_attention_dim),
    )
    own, borrowed = controlnet.state_dict(), unet.state_dict()
    own.update({name: tensor for name, tensor in borrowed.items() if name in own})
    controlnet.load_state_dict(own)
    _see_edges(controlnet.controlnet_cond_embedding)
    return controlnet


@torch.no_grad()
def _see_edges(embedding: nn.Module) -> None:
    """Weights behind which edges are still to be seen.

    torch's own let each of the eight layers pass a third: at the end thin lines are 3e-5 as strong as the
    latents that they are added to, and diffusers' zeros in the last one take that, too. The ControlNet's
    outputs begin with zeros in any case.
    """
    for layer in embedding.modules():
        if isinstance(layer, nn.Conv2d):
            # SiLU halves what is small.
            nn.init.normal_(layer.weight, std=2 / math.sqrt(layer.weight[0].numel()))
            nn.init.zeros_(layer.bias)
