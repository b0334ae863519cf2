"""The two graphs of the denoiser: the control image's embedding, and one denoising step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn


class ControlEmbedding(nn.Module):
    """What of a ControlNet depends on the control image alone, once per request."""

    def __init__(self, controlnets: Sequence[ControlNetModel]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(controlnet.controlnet_cond_embedding for controlnet in controlnets)
        self.channels: list[int] = [controlnet.config.conditioning_channels for controlnet in controlnets]

    def forward(self, control_image: Tensor) -> dict[str, Tensor]:
        """uint8 [B, K, H, W] → [B, K, G, h, w]."""
        dtype = next(self.parameters()).dtype
        pixels = (control_image.float() / 255).to(dtype)
        embeddings = []
        for number, embedding in enumerate(self.embeddings):
            picture = pixels[:, number : number + 1].expand(-1, self.channels[number], -1, -1)
            embeddings.append(embedding(picture))
        return {"control_embedding": torch.stack(embeddings, dim=1).float()}


class Step(nn.Module):
    """ControlNets, UNet, guidance and scheduler update: the contract's ``step``."""

    def __init__(self, unet: UNet2DConditionModel, controlnets: Sequence[ControlNetModel]) -> None:
        super().__init__()
        self.unet = unet
        self.controlnets = nn.ModuleList(controlnets)

    def forward(
        self,
        state: Tensor,
        transition: Tensor,
        gain: Tensor,
        input_scale: Tensor,
        timesteps: Tensor,
        guidance_scale: Tensor,
        controlnet_conditioning_scale: Tensor,
        mask_latents: Tensor,
        masked_image_latents: Tensor,
        control_embedding: Tensor,
        encoder_hidden_states: Tensor,
        row_slot: Tensor,
        cond_row: Tensor,
        uncond_row: Tensor,
        control_row: Tensor,
        row_residual: Tensor,
    ) -> dict[str, Tensor]:
        """Shapes as the contract says; fp32 in and out, the networks in the dtype of their weights.

        Rows are taken by ``index_select``, which becomes a Gather. Of brackets ONNX gets a GatherND, and a
        CUDA graph of that reads freed memory in ONNX Runtimes without microsoft/onnxruntime#32120.
        """
        dtype = self.unet.conv_in.weight.dtype
        latents = state[:, 0] * input_scale[:, None, None, None]
        sample = torch.cat([latents, mask_latents, masked_image_latents], dim=1).to(dtype)
        sample = sample.index_select(0, row_slot)
        row_timesteps = timesteps.index_select(0, row_slot)
        prompt = encoder_hidden_states.to(dtype)
        control_slot = row_slot.index_select(0, control_row)
        residuals = self.residuals(
            sample.index_select(0, control_row),
            timesteps.index_select(0, control_slot),
            prompt.index_select(0, control_row),
            control_embedding.to(dtype).index_select(0, control_slot),
            controlnet_conditioning_scale.to(dtype).index_select(0, control_slot),
            row_residual,
        )
        prediction = unet_prediction(self.unet, sample, row_timesteps, prompt, residuals).float()
        uncond, cond = prediction.index_select(0, uncond_row), prediction.index_select(0, cond_row)
        guided = uncond + guidance_scale[:, None, None, None] * (cond - uncond)
        history = transition @ state.flatten(2)
        update = gain[:, :, None, None, None] * guided[:, None]
        return {"next_state": history.reshape(state.shape) + update}

    def residuals(
        self,
        sample: Tensor,
        timesteps: Tensor,
        prompt: Tensor,
        control: Tensor,
        scales: Tensor,
        row_residual: Tensor,
    ) -> list[Tensor]:
        """Each ControlNet's residuals, scaled by row, summed: those of the skips, then the middle one.

        All arguments but the last are of the rows that have ControlNet work, P of them; the results are of
        every row.
        """
        total: list[Tensor] = []
        for number, controlnet in enumerate(self.controlnets):
            scale = scales[:, number, None, None, None]
            residuals = controlnet_residuals(controlnet, sample, timesteps, prompt, control[:, number])
            scaled = [residual * scale for residual in residuals]
            total = [a + b for a, b in zip(total, scaled, strict=True)] if total else scaled
        return [_to_rows(residual, row_residual) for residual in total]


def _to_rows(residual: Tensor, row_residual: Tensor) -> Tensor:
    """Residuals of some rows [P, ...] → of every row [R, ...], zeros where ``row_residual`` is 0.

    A gather rather than adding at indices: that becomes a ScatterND with a reduction, which is as fast
    in ONNX Runtime, but a less common operation.
    """
    none = residual.new_zeros((1, *residual.shape[1:]))
    return torch.cat([none, residual]).index_select(0, row_residual)


def controlnet_residuals(
    controlnet: nn.Module, sample: Tensor, timesteps: Tensor, prompt: Tensor, control: Tensor
) -> list[Tensor]:
    """``ControlNetModel.forward`` from the control image's embedding on.

    Args:
        sample: the UNet's input [R, 2C+1, h, w]; the ControlNet sees its first ``in_channels``.
        control: conditioning embedding [R, G, h, w].

    Returns:
        The residuals of the skips, from the first to the last, and that of the middle block.
    """
    config = controlnet.config
    embedding = _time_embedding(controlnet, timesteps, sample.dtype)
    hidden = controlnet.conv_in(sample[:, : config.in_channels]) + control
    skips, middle = _encode(controlnet, hidden, embedding, prompt)
    residuals = [block(skip) for block, skip in zip(controlnet.controlnet_down_blocks, skips, strict=True)]
    residuals.append(controlnet.controlnet_mid_block(middle))
    if config.global_pool_conditions:
        residuals = [residual.mean(dim=(2, 3), keepdim=True) for residual in residuals]
    return residuals


def unet_prediction(
    unet: UNet2DConditionModel, sample: Tensor, timesteps: Tensor, prompt: Tensor, residuals: Sequence[Tensor]
) -> Tensor:
    """``UNet2DConditionModel.forward``, with sizes that always come from the skip connections.

    The original asks whether the latents' sides are multiples of 8 and leaves the upsampling sizes out
    if so; a graph for all sizes cannot ask. Where sides are multiples, both say the same.

    Returns:
        The prediction [R, C, h, w].
    """
    embedding = _time_embedding(unet, timesteps, sample.dtype)
    skips, hidden = _encode(unet, unet.conv_in(sample), embedding, prompt)
    skips = [skip + residual for skip, residual in zip(skips, residuals[:-1], strict=True)]
    hidden = hidden + residuals[-1]
    for block in unet.up_blocks:
        taken, skips = skips[-len(block.resnets) :], skips[: -len(block.resnets)]
        arguments = {"upsample_size": skips[-1].shape[2:]} if skips else {}
        if getattr(block, "has_cross_attention", False):
            arguments["encoder_hidden_states"] = prompt
        hidden = block(
            hidden_states=hidden, temb=embedding, res_hidden_states_tuple=tuple(taken), **arguments
        )
    if unet.conv_norm_out is not None:
        hidden = unet.conv_act(unet.conv_norm_out(hidden))
    return unet.conv_out(hidden)


def _time_embedding(model: nn.Module, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
    # The sinusoids in fp32, as diffusers; only then in the precision of the weights.
    embedding = model.time_embedding(model.time_proj(timesteps).to(dtype))
    act = getattr(model, "time_embed_act", None)
    return embedding if act is None else act(embedding)


def _encode(
    model: nn.Module, hidden: Tensor, embedding: Tensor, prompt: Tensor
) -> tuple[list[Tensor], Tensor]:
    """The half that UNets and ControlNets share: skips of every resolution, and the middle block."""
    skips = [hidden]
    for block in model.down_blocks:
        if getattr(block, "has_cross_attention", False):
            hidden, taken = block(hidden_states=hidden, temb=embedding, encoder_hidden_states=prompt)
        else:
            hidden, taken = block(hidden_states=hidden, temb=embedding)
        skips.extend(taken)
    if getattr(model.mid_block, "has_cross_attention", False):
        hidden = model.mid_block(hidden, embedding, encoder_hidden_states=prompt)
    elif model.mid_block is not None:
        hidden = model.mid_block(hidden, embedding)
    return skips, hidden
