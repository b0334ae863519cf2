"""What a caller may set on a generation: names and meaning of diffusers, ranges of our own.

One definition for the client, the command line, the served contract and the denoiser.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from packshot.errors import expected

SCHEDULERS = ("dpmpp_2m", "ddim", "euler")
MAX_INFERENCE_STEPS = 200
MAX_GUIDANCE_SCALE = 50.0
MAX_CONTROLNET_SCALE = 4.0
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Parameters:
    """How to paint the scene.

    The three ControlNet fields take one number for every ControlNet of the family, or a tuple
    with one number each.

    Attributes:
        num_inference_steps: denoising steps, 1 to 200.
        guidance_scale: classifier-free guidance weight, 0 to 50; at 1 and below the negative
            prompt has no effect.
        controlnet_conditioning_scale: weight of the control image's residuals, 0 to 4.
        control_guidance_start: share of the steps after which the ControlNet sets in, 0 to 1.
        control_guidance_end: share of the steps after which it stops, above the start, up to 1.
        scheduler: one of ``SCHEDULERS``.

    Raises:
        InvalidArgument: a value is out of its range or not a number.
    """

    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    controlnet_conditioning_scale: float | tuple[float, ...] = 0.5
    control_guidance_start: float | tuple[float, ...] = 0.0
    control_guidance_end: float | tuple[float, ...] = 1.0
    scheduler: str = "dpmpp_2m"

    def __post_init__(self) -> None:
        _integer("num_inference_steps", self.num_inference_steps, 1, MAX_INFERENCE_STEPS)
        _number("guidance_scale", self.guidance_scale, 0.0, MAX_GUIDANCE_SCALE)
        for scale in _each(self.controlnet_conditioning_scale):
            _number("controlnet_conditioning_scale", scale, 0.0, MAX_CONTROLNET_SCALE)
        starts, ends = _each(self.control_guidance_start), _each(self.control_guidance_end)
        for start in starts:
            _number("control_guidance_start", start, 0.0, 1.0)
        for end in ends:
            _number("control_guidance_end", end, 0.0, 1.0)
        if max(starts) >= min(ends) and any(start >= end for start, end in _paired(starts, ends)):
            raise expected(
                "control_guidance_start",
                f"{self.control_guidance_start} with control_guidance_end {self.control_guidance_end}",
                "start < end",
            )
        if self.scheduler not in SCHEDULERS:
            raise expected("scheduler", repr(self.scheduler), "one of " + ", ".join(SCHEDULERS))

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
            return (float(value),) * count
        if len(value) != count:
            raise expected(name, f"{len(value)} values", f"1 or {count}, one for each ControlNet")
        return value


def check_seed(seed: int) -> int:
    """A seed as the server takes it: 0 to 2^63 − 1."""
    return _integer("seed", seed, 0, MAX_SEED)


def _each(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _paired(starts: tuple[float, ...], ends: tuple[float, ...]) -> list[tuple[float, float]]:
    count = max(len(starts), len(ends))
    wide = [side * count if len(side) == 1 else side for side in (starts, ends)]
    return list(zip(*wide, strict=False))


def _integer(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise expected(name, repr(value), f"an integer from {low} to {high}")
    return value


def _number(name: str, value: object, low: float, high: float) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise expected(name, repr(value), f"a number from {low:g} to {high:g}")
