"""What every training has in common: how long it runs, how it goes on after a stop, what it prints."""

from __future__ import annotations

import math
import os
import random
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: a number of steps, or minutes of the clock.

    Raises:
        ValueError: not exactly one of them is given, or it is not above 0.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.minutes) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError(
                f"budget: got {self.steps} steps and {self.minutes} minutes, expected one of them above 0"
            )

    def fraction(self, step: int, seconds: float) -> float:
        """How much of it is used up, 0 to 1, after ``step`` steps that took ``seconds`` in all."""
        used = step / self.steps if self.steps else seconds / (60 * (self.minutes or 1))
        return min(1.0, used)


def learning_rate(peak: float, fraction: float, step: int, warmup_steps: int) -> float:
    """Linear from 0 over the first steps, then a cosine down to 2 % of the peak at the end."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction))
    return peak * cosine * min(1.0, (step + 1) / warmup_steps)


class Ema:
    """Moving average of a model's trained parameters.

    Args:
        model: whose parameters are followed, on its own device.
        decay: of the average once it is warm; early it is (1 + step) / (10 + step), so that the
            first, random weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self._followed = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._averages = {name: p.detach().clone().float() for name, p in self._followed.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters as they are after ``step``."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averages = list(self._averages.values())
        torch._foreach_lerp_(averages, [p.detach().float() for p in self._followed.values()], weight)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by the parameters' names."""
        return self._averages

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, average in self._averages.items():
            average.copy_(state[name])

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the averages into a model of the same kind."""
        parameters = dict(model.named_parameters())
        for name, average in self._averages.items():
            parameters[name].copy_(average)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state so that a stop at any moment leaves the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(dict(state), scratch)
    os.replace(scratch, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """What :func:`save_state` wrote, on the CPU; None if there is nothing."""
    if not path.is_file():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic; it pays on GPUs and on CPUs that know it."""
    return torch.autocast(device.type, torch.bfloat16)


@dataclass(slots=True)
class Progress:
    """Lines on standard error: how far, how well, how fast, how long still.

    Attributes:
        name: of what is trained.
        budget: how long it runs.
        every_s: seconds between lines.
        seconds: trained before this process, if it goes on with an earlier run.
    """

    name: str
    budget: Budget
    every_s: float = 10.0
    seconds: float = 0.0
    _start: float = field(default_factory=time.monotonic, init=False)
    _said: float = field(default_factory=time.monotonic, init=False)
    _pictures: int = field(default=0, init=False)
    _sums: dict[str, list[float]] = field(default_factory=dict, init=False)

    @property
    def elapsed_s(self) -> float:
        """Seconds of training, those of earlier processes included."""
        return self.seconds + time.monotonic() - self._start

    def tell(self, step: int, pictures: int, **metrics: float) -> None:
        """Count a finished step; every now and then print the means since the last line."""
        self._pictures += pictures
        for name, value in metrics.items():
            self._sums.setdefault(name, []).append(float(value))
        now = time.monotonic()
        if now - self._said < self.every_s:
            return
        fraction = self.budget.fraction(step, self.elapsed_s)
        left = (1 - fraction) / max(fraction, 1e-9) * self.elapsed_s
        means = "  ".join(f"{name} {sum(values) / len(values):.4f}" for name, values in self._sums.items())
        speed = self._pictures / (now - self._said)
        sys.stderr.write(
            f"{self.name}  step {step}  {fraction:6.1%}  {means}  {speed:.1f} pictures/s  "
            f"ETA {left / 60:.1f} min\n"
        )
        sys.stderr.flush()
        self._said, self._pictures = now, 0
        self._sums.clear()
