"""The loop that all trainings share: rates, averages, states to go on from, sheets to look at."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from packshot_pocket.optimizers import Optimizers
from packshot_pocket.train.plan import Stage
from packshot_pocket.training import Budget, Ema, Progress, autocast, learning_rate, load_state, save_state

STATE = "state.pt"
#: Steps whose numbers are fetched at once.
_TOLD_TOGETHER = 4
#: Of the weights, for each step at a rate of 1.
_DECAY = 0.01


class Task(Protocol):
    """What a model's training adds to the loop.

    Attributes:
        name: of the model.
        trained: the module whose parameters are learned, on the device.
        called: the modules that a step calls, which are worth compiling.
    """

    name: str
    trained: nn.Module
    called: Sequence[nn.Module]

    def loss(self, generator: torch.Generator, fraction: float) -> tuple[Tensor, Mapping[str, Tensor]]:
        """A batch's loss, and what else is worth printing.

        Args:
            generator: on the device; everything random comes from it.
            fraction: of the training that is over, 0 to 1.
        """
        ...

    def publish(self, averaged: nn.Module) -> None:
        """Write the checkpoint of the averaged weights."""
        ...

    def sheet(self, averaged: nn.Module) -> np.ndarray:
        """Samples to look at: uint8 [H, W, 3], RGB."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """How a training is run.

    Attributes:
        folder: of the state and the sheets.
        budget: how long.
        stage: rates and averages.
        device: to train on.
        seed: of the batches.
        resume: go on from the folder's state, if there is one.
        compile: compile what a step calls.
        save_every_s, sheet_every_s: seconds.
        foundation: steps of the trainings whose models this one stands on, by model.
    """

    folder: Path
    budget: Budget
    stage: Stage
    device: torch.device
    seed: int
    resume: bool
    compile: bool
    save_every_s: float
    sheet_every_s: float
    foundation: Mapping[str, int] = field(default_factory=dict)


class Loop:
    """A training under way.

    Raises:
        ValueError: it is to go on, but the models that it stands on have gone on without it.
    """

    def __init__(self, task: Task, run: Run) -> None:
        self.task, self.run = task, run
        self.optimizers = Optimizers(task.trained, _DECAY)
        self.ema = Ema(task.trained, run.stage.ema_decay)
        self.averaged = copy.deepcopy(task.trained).eval().requires_grad_(False)
        if run.compile:
            for module in task.called:
                module.compile()
        self.step = 0
        self._untold: list[Tensor] = []
        seconds = self._restore() if run.resume else 0.0
        self.progress = Progress(task.name, run.budget, seconds=seconds)

    def train(self) -> None:
        """Go on until the budget is used up; then write the state, a sheet and the checkpoint."""
        saved = drawn = self.progress.elapsed_s
        while (fraction := self._fraction()) < 1:
            metrics = self._learn(fraction)
            self.step += 1
            self.ema.update(self.step)
            self._tell(metrics)
            now = self.progress.elapsed_s
            if now - saved >= self.run.save_every_s:
                self.save()
                saved = now
            if now - drawn >= self.run.sheet_every_s:
                self.draw()
                drawn = now
        self.save()
        self.draw()
        self.task.publish(self.averaged)

    def save(self) -> None:
        """Write what is needed to go on."""
        state = {
            "trained": self.task.trained.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "step": self.step,
            "seconds": self.progress.elapsed_s,
            "foundation": dict(self.run.foundation),
        }
        save_state(self.run.folder / STATE, state)

    def draw(self) -> None:
        """Write a sheet of the averaged weights' samples."""
        self.average()
        with torch.no_grad(), autocast(self.run.device):
            sheet = self.task.sheet(self.averaged)
        path = self.run.folder / f"{self.task.name}-{self.step:06d}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(sheet[..., ::-1]))

    def average(self) -> None:
        """Bring ``averaged`` up to date."""
        self.averaged.load_state_dict(self.task.trained.state_dict())
        self.ema.copy_to(self.averaged)

    def _tell(self, metrics: dict[str, Tensor]) -> None:
        """Show the progress. Numbers are fetched for several steps at once: a GPU must not wait for us."""
        self._untold.append(torch.stack([value.detach().float() for value in metrics.values()]))
        if len(self._untold) < _TOLD_TOGETHER:
            return
        means = torch.stack(self._untold).mean(dim=0).tolist()
        pictures = len(self._untold) * self.run.stage.batch_size
        self.progress.tell(self.step, pictures, **dict(zip(metrics, means, strict=True)))
        self._untold.clear()

    def _learn(self, fraction: float) -> dict[str, Tensor]:
        stage = self.run.stage
        rate = learning_rate(stage.peak_rate, fraction, self.step, stage.warmup_steps)
        # A step's randomness depends on its number alone: that is all a resumed training needs to know.
        generator = torch.Generator(self.run.device).manual_seed(self.run.seed * 2**32 + self.step)
        self.task.trained.zero_grad(set_to_none=True)
        with autocast(self.run.device):
            loss, metrics = self.task.loss(generator, fraction)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.task.trained.parameters(), 1.0)
        self.optimizers.step(rate)
        return {"loss": loss, "norm": norm, **metrics}

    def _fraction(self) -> float:
        return self.run.budget.fraction(self.step, self.progress.elapsed_s)

    def _restore(self) -> float:
        state: dict[str, Any] | None = load_state(self.run.folder / STATE)
        if state is None:
            return 0.0
        if state["foundation"] != self.run.foundation:
            raise ValueError(
                f"resume: got {dict(self.run.foundation)} steps of what {self.task.name} stands on, "
                f"expected {state['foundation']}, as when it was trained; without --resume it begins anew"
            )
        self.task.trained.load_state_dict(state["trained"])
        self.ema.load_state_dict(state["ema"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.step = state["step"]
        return state["seconds"]
