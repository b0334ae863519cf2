"""What an operator may change of the denoiser: parameters of its ``config.pbtxt``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from packshot.contract import PLAN_ENDINGS
from packshot.errors import expected

AUTO = "auto"
NO_PLANS = "none"
#: A ticket has 16 bits for a place in both priorities' queues.
MOST_WAITING = 32_000
#: Requests in work at the same time, and those of them that step together: numbers, or what was measured
#: to pay when the model is loaded. Requests of each priority that may wait, and for how long (0: for ever)
#: if they do not say so themselves. Whether a processor computes the steps in bfloat16; the module whose
#: plans a GPU computes them with, instead of the ONNX graphs.
DEFAULTS = {
    "max_slots": AUTO,
    "max_batch": AUTO,
    "max_queue_size": "64",
    "default_timeout_microseconds": "0",
    "bf16": "false",
    "plans": NO_PLANS,
}


@dataclass(frozen=True, slots=True)
class DenoiserSettings:
    """The parameters as values; None is what was measured, or no plans."""

    max_slots: int | None
    max_batch: int | None
    max_queue_size: int
    default_timeout_s: float
    bf16: bool
    plans: str | None

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> DenoiserSettings:
        """From a config's parameters; what is missing has its default.

        Raises:
            InvalidArgument: one is not what it should be, or out of its range.
        """
        values = {name: parameters.get(name, default) for name, default in DEFAULTS.items()}
        slots, batch = (
            None if values[name] == AUTO else _number(name, values[name], 1, f"'{AUTO}' or a number from 1")
            for name in ("max_slots", "max_batch")
        )
        form = f"a number from 1 to {MOST_WAITING}"
        queue = _number("max_queue_size", values["max_queue_size"], 1, form, MOST_WAITING)
        timeout = values["default_timeout_microseconds"]
        timeout_us = _number("default_timeout_microseconds", timeout, 0, "a number from 0")
        if values["bf16"] not in ("true", "false"):
            raise expected("bf16", repr(values["bf16"]), "'true' or 'false'")
        plans = values["plans"]
        if plans not in (NO_PLANS, *PLAN_ENDINGS):
            raise expected("plans", repr(plans), f"'{NO_PLANS}' or one of {', '.join(PLAN_ENDINGS)}")
        return cls(
            max_slots=slots,
            max_batch=batch,
            max_queue_size=queue,
            default_timeout_s=timeout_us / 1e6,
            bf16=values["bf16"] == "true",
            plans=None if plans == NO_PLANS else plans,
        )


def _number(name: str, value: str, least: int, form: str, most: float = math.inf) -> int:
    if not (value.isascii() and value.isdecimal() and least <= int(value) <= most):
        raise expected(name, repr(value), form)
    return int(value)
