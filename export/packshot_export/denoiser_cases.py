"""What ``ControlNetModel`` and ``UNet2DConditionModel`` answer, with guidance and update written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from packshot.contract import GRAPHS
from packshot_export.axes import random_inputs
from packshot_export.cases import Case


@dataclass(frozen=True, slots=True)
class _Situation:
    """A batch of slots: of each, whether it has a second row, and whether ControlNets weigh anything."""

    h: int
    w: int
    m: int
    guided: tuple[bool, ...]
    controlled: tuple[bool, ...]

    @property
    def label(self) -> str:
        slots = "+".join(
            f"{'guided' if guided else 'unguided'} {'controlled' if controlled else 'uncontrolled'}"
            for guided, controlled in zip(self.guided, self.controlled, strict=True)
        )
        return f"latents {self.w}x{self.h}, {slots}"


_SITUATIONS = (
    _Situation(h=8, w=16, m=1, guided=(False,), controlled=(False,)),
    _Situation(h=33, w=25, m=2, guided=(True, False, True), controlled=(True, True, False)),
    _Situation(h=12, w=9, m=3, guided=(True,), controlled=(True,)),
)


def control_embedding_cases(
    controlnets: Sequence[ControlNetModel], dims: Mapping[str, int], factor: int
) -> Iterator[Case]:
    """Control images of several canvases."""
    graph = GRAPHS["control_embedding"]
    for batch, h, w in ((1, 8, 12), (2, 33, 25)):
        inputs = random_inputs(graph, dims, {"B": batch, "h": h, "w": w}, factor, seed=5)
        embeddings = [
            controlnet.controlnet_cond_embedding(_control(controlnet, inputs["control_image"][:, number]))
            for number, controlnet in enumerate(controlnets)
        ]
        yield Case(
            f"{batch} of {factor * w}x{factor * h}",
            inputs,
            {"control_embedding": torch.stack(embeddings, dim=1)},
        )


def step_cases(
    unet: UNet2DConditionModel, controlnets: Sequence[ControlNetModel], dims: Mapping[str, int], factor: int
) -> Iterator[Case]:
    """Batches of every mixture of guided and controlled slots, rows in no particular order."""
    for seed, situation in enumerate(_SITUATIONS):
        images, inputs = _step_inputs(situation, controlnets, dims, factor, seed)
        slots = [_step(unet, controlnets, inputs, images, slot) for slot in range(len(situation.guided))]
        yield Case(situation.label, inputs, {"next_state": torch.stack(slots)})


def _control(controlnet: ControlNetModel, grey: Tensor) -> Tensor:
    """A control image uint8 [B, H, W] as the pipeline prepares it: [0, 1], the channels alike."""
    return (grey.float() / 255)[:, None].repeat(1, controlnet.config.conditioning_channels, 1, 1)


def _step_inputs(
    situation: _Situation,
    controlnets: Sequence[ControlNetModel],
    dims: Mapping[str, int],
    factor: int,
    seed: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Control images [B, K, H, W] and the step's inputs."""
    batch, guided = len(situation.guided), torch.tensor(situation.guided)
    sizes = {"B": batch, "R": batch + int(guided.sum()), "m": situation.m, "h": situation.h, "w": situation.w}
    generator = torch.Generator().manual_seed(seed)
    rows = _rows(situation, sizes["R"], generator)
    sizes["P"] = len(rows["control_row"])
    inputs = random_inputs(GRAPHS["step"], dims, sizes, factor, seed)
    scales = torch.rand((batch, dims["K"]), generator=generator)
    image_size = (batch, dims["K"], factor * situation.h, factor * situation.w)
    images = torch.randint(0, 256, image_size, generator=generator, dtype=torch.uint8)
    embeddings = [
        controlnet.controlnet_cond_embedding(_control(controlnet, images[:, number]))
        for number, controlnet in enumerate(controlnets)
    ]
    inputs.update(
        timesteps=torch.linspace(1.0, 981.0, batch),
        guidance_scale=torch.linspace(7.5, 2.0, batch),
        input_scale=torch.linspace(0.1, 1.0, batch),
        controlnet_conditioning_scale=scales * torch.tensor(situation.controlled)[:, None],
        mask_latents=(inputs["mask_latents"] > 0).float(),
        control_embedding=torch.stack(embeddings, dim=1),
        **rows,
    )
    return images, inputs


def _rows(situation: _Situation, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """The index inputs: ``count`` rows in a random order, and those to control in another."""
    batch, guided = len(situation.guided), torch.tensor(situation.guided)
    order = torch.randperm(count, generator=generator)
    cond_row = order[:batch]
    uncond_row = cond_row.clone()
    uncond_row[guided] = order[batch:]
    row_slot = torch.empty(count, dtype=torch.int64)
    row_slot[uncond_row] = torch.arange(batch)
    row_slot[cond_row] = torch.arange(batch)
    control_row = order[torch.tensor(situation.controlled)[row_slot[order]]]
    row_residual = torch.zeros(count, dtype=torch.int64)
    row_residual[control_row] = torch.arange(1, len(control_row) + 1)
    return {
        "row_slot": row_slot,
        "cond_row": cond_row,
        "uncond_row": uncond_row,
        "control_row": control_row,
        "row_residual": row_residual,
    }


def _step(
    unet: UNet2DConditionModel,
    controlnets: Sequence[ControlNetModel],
    inputs: Mapping[str, Tensor],
    images: Tensor,
    slot: int,
) -> Tensor:
    """A slot's next state [m, C, h, w]."""
    state = inputs["state"][slot]
    uncond, cond = (
        _predict(unet, controlnets, inputs, images, slot, int(inputs[name][slot]))
        for name in ("uncond_row", "cond_row")
    )
    guided = uncond + inputs["guidance_scale"][slot] * (cond - uncond)
    weights = inputs["transition"][slot]
    return torch.stack(
        [
            sum((weight * latents for weight, latents in zip(row, state, strict=True)), gain * guided)
            for row, gain in zip(weights, inputs["gain"][slot], strict=True)
        ]
    )


def _predict(
    unet: UNet2DConditionModel,
    controlnets: Sequence[ControlNetModel],
    inputs: Mapping[str, Tensor],
    images: Tensor,
    slot: int,
    row: int,
) -> Tensor:
    """The model output [C, h, w] of one row, from the original classes' own forward."""
    latents = inputs["state"][slot, 0] * inputs["input_scale"][slot]
    sample = torch.cat([latents, inputs["mask_latents"][slot], inputs["masked_image_latents"][slot]])[None]
    prompt, timestep = inputs["encoder_hidden_states"][row][None], inputs["timesteps"][slot]
    skips: list[Tensor] | None = None
    middle: Tensor | None = None
    for number, controlnet in enumerate(controlnets):
        down, mid = controlnet(
            sample[:, : controlnet.config.in_channels],
            timestep,
            encoder_hidden_states=prompt,
            controlnet_cond=_control(controlnet, images[slot, number][None]),
            conditioning_scale=inputs["controlnet_conditioning_scale"][slot, number],
            return_dict=False,
        )
        skips = down if skips is None else [a + b for a, b in zip(skips, down, strict=True)]
        middle = mid if middle is None else middle + mid
    return unet(
        sample,
        timestep,
        encoder_hidden_states=prompt,
        down_block_additional_residuals=skips,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0][0]
