"""What a caller may set on a generation: names and meaning of diffusers, ranges of our own.

One definition for the client, the command line, the served contract and the denoiser.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from packshot.arrays import shown
from packshot.checks import integer, number
from packshot.errors import expected

SCHEDULERS = (
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "ddim",
    "euler",
    "euler_karras",
    "euler_ancestral",
    "unipc",
    "unipc_karras",
    "pndm",
)
MAX_INFERENCE_STEPS = 200
MAX_GUIDANCE_SCALE = 50.0
MAX_CONTROLNET_SCALE = 4.0
MAX_SEED = 2**63 - 1
#: Priorities, most urgent first, as Triton counts them: somebody waits, or a catalogue is worked off.
INTERACTIVE, CATALOGUE = 1, 2

#: Fields with one number for each ControlNet.
PER_CONTROLNET = ("controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end")

#: The greatest value of each field that is not an integer; the least is 0, or just above it.
_RANGES = {
    "guidance_scale": MAX_GUIDANCE_SCALE,
    "controlnet_conditioning_scale": MAX_CONTROLNET_SCALE,
    "control_guidance_start": 1.0,
    "control_guidance_end": 1.0,
    "guidance_end": 1.0,
    "strength": 1.0,
}
_ABOVE_0 = ("strength",)


@dataclass(frozen=True, slots=True)
class Parameters:
    """How to paint the scene.

    The three ControlNet fields take one number for every ControlNet of the family, or a tuple
    (or list) with one number each. Numbers of numpy are stored as plain ones.

    Attributes:
        num_inference_steps: denoising steps, 1 to 200.
        guidance_scale: classifier-free guidance weight, 0 to 50; at 1 and below the negative
            prompt has no effect.
        controlnet_conditioning_scale: weight of the control image's residuals, 0 to 4.
        control_guidance_start: share of the steps after which the ControlNet sets in, 0 to 1.
        control_guidance_end: share of the steps after which it stops, above the start, up to 1.
        scheduler: one of ``SCHEDULERS``.
        guidance_end: share of the steps after which classifier-free guidance stops, 0 to 1; the steps
            past it need half the rows. Step i of N is guided unless (i+1)/N > ``guidance_end``, as a
            ControlNet is left out past ``control_guidance_end``.
        strength: how much of the given picture to repaint, above 0, to 1. Below 1 the run starts
            from that picture with noise added, and only the last ``int(N * strength)`` of the N steps
            are taken; shares of the steps then mean these. At 1 it starts from noise alone.

    Raises:
        InvalidArgument: a value is out of its range or not a number, or ``strength`` leaves no step.
    """

    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    controlnet_conditioning_scale: float | tuple[float, ...] = 0.5
    control_guidance_start: float | tuple[float, ...] = 0.0
    control_guidance_end: float | tuple[float, ...] = 1.0
    scheduler: str = "dpmpp_2m"
    guidance_end: float = 1.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        steps = integer("num_inference_steps", self.num_inference_steps, 1, MAX_INFERENCE_STEPS)
        object.__setattr__(self, "num_inference_steps", steps)
        for name, high in _RANGES.items():
            object.__setattr__(self, name, _numbers(name, getattr(self, name), high))
        first_step(self.num_inference_steps, self.strength)
        starts, ends = _each(self.control_guidance_start), _each(self.control_guidance_end)
        if max(starts) >= min(ends) and any(start >= end for start, end in _paired(starts, ends)):
            raise expected(
                "control_guidance_start",
                f"{self.control_guidance_start} with control_guidance_end {self.control_guidance_end}",
                "start < end",
            )
        if not isinstance(self.scheduler, str) or self.scheduler not in SCHEDULERS:
            raise expected("scheduler", shown(self.scheduler), "one of " + ", ".join(SCHEDULERS))

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as plain JSON values."""
        return asdict(self)

    def per_controlnet(self, name: str, count: int) -> tuple[float, ...]:
        """A ControlNet field spread over ``count`` ControlNets.

        Raises:
            InvalidArgument: a tuple was given whose length is not ``count``.
        """
        value = getattr(self, name)
        if not isinstance(value, tuple):
            return (value,) * count
        if len(value) != count:
            got = f"{len(value)} value" + ("s" if len(value) > 1 else "")
            raise expected(name, got, f"{count} (one for each ControlNet) or a plain number")
        return value


def check_seed(seed: int) -> int:
    """A seed as the server takes it: 0 to 2^63 − 1."""
    return integer("seed", seed, 0, MAX_SEED)


def check_priority(priority: int) -> int:
    """A priority as the server takes it: 1 interactive, 2 catalogue."""
    return integer("priority", priority, INTERACTIVE, CATALOGUE)


def first_step(num_inference_steps: int, strength: float) -> int:
    """The step that a run begins with, counted from 0: the noisiest before it are left out.

    As in ``StableDiffusionControlNetInpaintPipeline.get_timesteps``, with the product of Python floats.
    A strength that is k/N in float32, as it comes over the wire, counts as k/N: 5/6 of 6 steps are 5, and
    would be 4 of what float32 leaves of it.

    Args:
        num_inference_steps: N, 1 or more.
        strength: above 0, to 1.

    Raises:
        InvalidArgument: no step would be left.
    """
    share = round(num_inference_steps * strength) / num_inference_steps
    if np.float32(share) == np.float32(strength):
        strength = share
    left = int(num_inference_steps * strength)
    if not left:
        raise expected(
            "strength", strength, f"at least 1/{num_inference_steps}: else none of the steps is left"
        )
    return num_inference_steps - left


def _numbers(name: str, value: object, high: float) -> float | tuple[float, ...]:
    """A field as a plain float, or a ControlNet field as a tuple of them."""
    if name not in PER_CONTROLNET or not isinstance(value, tuple | list):
        return number(name, value, 0, high, above=name in _ABOVE_0)
    if not value:
        raise expected(name, shown(value), "a number, or one for each ControlNet")
    return tuple(number(name, each, 0, high) for each in value)


def _each(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _paired(starts: tuple[float, ...], ends: tuple[float, ...]) -> list[tuple[float, float]]:
    count = max(len(starts), len(ends))
    wide = [side * count if len(side) == 1 else side for side in (starts, ends)]
    return list(zip(*wide, strict=False))
