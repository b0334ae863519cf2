"""A request on its way through the engine, and the batch that several of them make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from packshot.family import Family
from packshot.parameters import PER_CONTROLNET, Parameters
from packshot_serving.engine.noise import initial_noise
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import Residence, StepBatch, StepNumbers
from packshot_serving.engine.schedulers import Schedule


@dataclass(eq=False, slots=True)
class Slot:
    """One request's place in the engine. Compared by identity; only ``state`` and ``step`` change.

    With a runner that keeps the tensors, ``state`` is what the host has last seen of it.

    Attributes:
        request_id: names the request in the log.
        seed: of its noise.
        schedule: the scheduler's coefficients.
        guidance_scale: classifier-free guidance weight.
        guided_steps: steps from the first on that need an unconditional row.
        controlnet_scales: float32 [steps, K], 0 outside a ControlNet's window.
        prompt_embeds: float32 [T, D].
        negative_prompt_embeds: float32 [T, D].
        masked_image_latents: float32 [C, h, w].
        mask_latents: float32 [1, h, w].
        control_embedding: float32 [K, G, h, w]; empty if the runner keeps it.
        state: float32 [m, C, h, w], sample first.
        step: steps already taken.
        residence: the tensors on the runner's device, if it keeps them.
    """

    request_id: str
    seed: int
    schedule: Schedule
    guidance_scale: float
    guided_steps: int
    controlnet_scales: np.ndarray
    prompt_embeds: np.ndarray
    negative_prompt_embeds: np.ndarray
    masked_image_latents: np.ndarray
    mask_latents: np.ndarray
    control_embedding: np.ndarray
    state: np.ndarray
    step: int = 0
    residence: Residence | None = None

    @property
    def lane(self) -> tuple[int, int]:
        """Latent height and width; only slots of one lane share a batch."""
        return self.state.shape[-2], self.state.shape[-1]

    @property
    def guided(self) -> bool:
        """Whether the slot's next step needs an unconditional row."""
        return self.step < self.guided_steps

    @property
    def controlled(self) -> bool:
        """Whether any ControlNet weighs anything in the slot's next step."""
        return bool(self.controlnet_scales[self.step].any())

    @property
    def num_rows(self) -> int:
        """UNet rows of the slot's next step."""
        return 2 if self.guided else 1

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.schedule.num_steps

    @property
    def finished(self) -> bool:
        """Whether every step has been taken."""
        return self.step >= self.schedule.num_steps

    def sample(self) -> np.ndarray:
        """The latents as they are now, float32 [C, h, w]."""
        if self.residence is not None:
            self.state = self.residence.read()
        return self.state[0]


def open_slot(
    request: DenoiseRequest, family: Family, schedule: Schedule, control_embedding: np.ndarray
) -> Slot:
    """A slot at its first step; it keeps the request's arrays."""
    parameters = request.parameters
    return Slot(
        request_id=request.request_id,
        seed=request.seed,
        schedule=schedule,
        guidance_scale=parameters.guidance_scale,
        guided_steps=guided_steps(parameters, schedule.num_steps),
        controlnet_scales=controlnet_scales(parameters, schedule.num_steps, family.dims["K"]),
        prompt_embeds=request.prompt_embeds,
        negative_prompt_embeds=request.negative_prompt_embeds,
        masked_image_latents=request.masked_image_latents,
        mask_latents=request.mask_latents,
        control_embedding=control_embedding,
        state=initial_state(request, family, schedule),
    )


def guided_steps(parameters: Parameters, num_steps: int) -> int:
    """How many steps, from the first on, need an unconditional row.

    None at guidance ≤ 1, where it has no effect; else step i of N is guided unless
    (i+1)/N > ``guidance_end``, as a ControlNet is left out past ``control_guidance_end``.
    """
    if parameters.guidance_scale <= 1.0:
        return 0
    return int((_shares(num_steps)[1:] <= np.float32(parameters.guidance_end)).sum())


def initial_state(request: DenoiseRequest, family: Family, schedule: Schedule) -> np.ndarray:
    """The state before the first step, float32 [m, C, h, w], and an empty history.

    The sample is scaled noise; at strength < 1 it is the given picture with noise added, as by
    diffusers' ``add_noise`` at the first timestep that is left.
    """
    shape = (family.dims["C"], *request.latent_size)
    noise = initial_noise(request.seed, shape) if request.latents is None else request.latents
    state = np.zeros((schedule.state_size, *shape), np.float32)
    state[0] = noise * np.float32(schedule.initial_noise_gain)
    if request.image_latents is not None:  # its gain is 0 at strength 1
        state[0] += request.image_latents * np.float32(schedule.initial_sample_gain)
    return state


def controlnet_scales(parameters: Parameters, num_steps: int, num_controlnets: int) -> np.ndarray:
    """The weight of each ControlNet at each step, float32 [num_steps, K].

    As ``controlnet_keep`` in diffusers' ``StableDiffusionControlNetInpaintPipeline``: at step i
    of N a ControlNet is left out if i/N < start or (i+1)/N > end.
    """
    scale, start, end = (
        np.asarray(parameters.per_controlnet(name, num_controlnets), np.float32) for name in PER_CONTROLNET
    )
    share = _shares(num_steps)[:, None]
    outside = (share[:-1] < start) | (share[1:] > end)
    return np.where(outside, np.float32(0), scale)


def _shares(num_steps: int) -> np.ndarray:
    """0/N to N/N, float32 [N + 1]: what is compared with them came over the wire, where 1/3 is float32."""
    return (np.arange(num_steps + 1) / num_steps).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RowPlan:
    """Which rows a batch has, the same for as long as its slots have theirs: see :class:`StepNumbers`."""

    guidance_scale: np.ndarray
    row_slot: np.ndarray
    cond_row: np.ndarray
    uncond_row: np.ndarray
    control_row: np.ndarray
    row_residual: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class BatchConstants:
    """The part of a batch that stays the same while its slots do: see :class:`StepBatch`."""

    rows: RowPlan
    mask_latents: np.ndarray
    masked_image_latents: np.ndarray
    control_embedding: np.ndarray
    encoder_hidden_states: np.ndarray


def row_plan(slots: Sequence[Slot]) -> RowPlan:
    """Every slot's conditional row, then the guided slots' others.

    It holds for as long as every slot stays as guided and as controlled as it is now.
    """
    count = len(slots)
    guided = [index for index, slot in enumerate(slots) if slot.guided]
    cond_row = np.arange(count, dtype=np.int64)
    uncond_row = cond_row.copy()
    uncond_row[guided] = np.arange(count, count + len(guided))
    row_slot = np.concatenate([cond_row, np.array(guided, np.int64)])
    control_row = np.flatnonzero(np.array([slot.controlled for slot in slots])[row_slot])
    row_residual = np.zeros(len(row_slot), np.int64)
    row_residual[control_row] = np.arange(1, len(control_row) + 1)
    guidance_scale = np.array([slot.guidance_scale for slot in slots], np.float32)
    return RowPlan(guidance_scale, row_slot, cond_row, uncond_row, control_row, row_residual)


def batch_constants(slots: Sequence[Slot]) -> BatchConstants:
    """Rows and constant inputs; for how long they hold: see :func:`row_plan`."""
    rows = row_plan(slots)
    guided = rows.row_slot[len(slots) :]
    return BatchConstants(
        rows=rows,
        mask_latents=np.stack([slot.mask_latents for slot in slots]),
        masked_image_latents=np.stack([slot.masked_image_latents for slot in slots]),
        control_embedding=np.stack([slot.control_embedding for slot in slots]),
        encoder_hidden_states=np.stack(
            [slot.prompt_embeds for slot in slots] + [slots[index].negative_prompt_embeds for index in guided]
        ),
    )


def build_numbers(slots: Sequence[Slot], rows: RowPlan) -> StepNumbers:
    """The numbers of the next step.

    Args:
        slots: of one lane, at least one, none finished.
        rows: ``row_plan(slots)``, which may be known from the step before.
    """
    return StepNumbers(**_coefficients(slots), **_fields(rows))


def build_batch(slots: Sequence[Slot], constants: BatchConstants | None = None) -> StepBatch:
    """The next step of some slots of one lane.

    Args:
        slots: at least one, none finished.
        constants: ``batch_constants(slots)`` if it is known from the step before.
    """
    constants = constants or batch_constants(slots)
    return StepBatch(
        **_coefficients(slots),
        **_fields(constants.rows),
        state=np.stack([slot.state for slot in slots]),
        mask_latents=constants.mask_latents,
        masked_image_latents=constants.masked_image_latents,
        control_embedding=constants.control_embedding,
        encoder_hidden_states=constants.encoder_hidden_states,
    )


def _coefficients(slots: Sequence[Slot]) -> dict[str, np.ndarray]:
    return {
        "transition": np.stack([slot.schedule.transition[slot.step] for slot in slots]),
        "gain": np.stack([slot.schedule.gain[slot.step] for slot in slots]),
        "input_scale": np.array([slot.schedule.input_scale[slot.step] for slot in slots], np.float32),
        "timesteps": np.array([slot.schedule.timesteps[slot.step] for slot in slots], np.float32),
        "controlnet_conditioning_scale": np.stack([slot.controlnet_scales[slot.step] for slot in slots]),
    }


def _fields(rows: RowPlan) -> dict[str, np.ndarray]:
    # Not ``asdict``, which copies.
    return {name: getattr(rows, name) for name in RowPlan.__dataclass_fields__}
