"""The ControlNet: made from the UNet that it will steer."""

from __future__ import annotations

from diffusers import ControlNetModel, UNet2DConditionModel

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
    # diffusers begins with zeros here, too, for weights that must not be disturbed; behind the zeros of all
    # its outputs they only keep edges from being seen for hundreds of steps.
    controlnet.controlnet_cond_embedding.conv_out.reset_parameters()
    return controlnet
