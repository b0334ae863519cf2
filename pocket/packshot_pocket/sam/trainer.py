"""The pocket SAM's training: what it is asked for, its state, and its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from packshot_pocket.optimizers import Optimizers
from packshot_pocket.sam.model import POCKET, SamSpec, grown_sam, make_sam, save_sam
from packshot_pocket.sam.samples import SamSamples
from packshot_pocket.sam.step import TrainedSam
from packshot_pocket.team import ALONE, Team, work_together
from packshot_pocket.training import (
    Budget,
    Ema,
    Progress,
    autocast,
    learning_rate,
    load_state,
    save_state,
    seed_everything,
)

STATE_FILE = "training_state.pt"
_EVER = 2**40
#: Of the weights, for each step at a rate of 1.
_DECAY = 0.03


@dataclass(frozen=True, slots=True)
class SamTraining:
    """What a training is asked for.

    Attributes:
        output: directory of the checkpoint and of the state to go on from.
        budget: how long.
        device: ``cpu`` or ``cuda``.
        batch_size: pictures of a step; each is asked six prompts.
        processes: that share a step's pictures.
        workers: processes that draw pictures for each of these; 0 draws them where they are learned from.
        views: samples made of each picture that is drawn.
        peak_rate: highest learning rate.
        warmup_steps: until it is reached.
        ema_decay: of the weights' moving average, which is what is kept.
        save_every_s: seconds between states.
        seed: of the weights and of the pictures.
        spec: sizes of the network.
        start: directories of checkpoints to start from, which may be for photos of another size; of several
            from the mean. With the state beside the first, what it learned of grouping goes on, too.

    Raises:
        ValueError: the pictures of a step cannot be shared equally.
    """

    output: Path
    budget: Budget
    device: str = "cpu"
    batch_size: int = 16
    processes: int = 1
    workers: int = 0
    views: int = 1
    peak_rate: float = 8e-4
    warmup_steps: int = 60
    ema_decay: float = 0.998
    save_every_s: float = 180.0
    seed: int = 0
    spec: SamSpec = POCKET
    start: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.processes < 1 or self.batch_size % self.processes:
            raise ValueError(
                f"processes: got {self.processes}, expected a divisor of a step's {self.batch_size} pictures"
            )


class SamTrainer:
    """The state of a training; see :func:`train_sam`.

    Args:
        team: the processes that train together, each with such a state.
    """

    def __init__(self, training: SamTraining, resume: bool, team: Team = ALONE) -> None:
        self.training, self.team = training, team
        self.device = torch.device(training.device)
        seed_everything(training.seed)
        state = load_state(training.output / STATE_FILE) if resume else None
        attention = "sdpa" if self.device.type == "cuda" else "eager"
        if training.start and not state:
            sam = grown_sam(training.start, training.spec, attention)
        else:
            sam = make_sam(training.spec, attention)
        if state:
            # Before it is wrapped: the decoder takes its positions from the network that it is made of.
            sam.load_state_dict(_part(state, "sam"))
        self.model = TrainedSam(sam.to(self.device)).to(self.device)
        if state:
            self.model.grouping.load_state_dict(_part(state, "grouping"))
        elif training.start:
            _start_grouping(self.model.grouping, training.start[0])
        # Its few filters learn better by AdamW: after 250 steps the loss was 0.82, and 0.92 by Muon.
        self.optimizers = Optimizers(self.model, _DECAY, orthogonal=(nn.Linear,))
        self.ema = Ema(self.model.sam, training.ema_decay)
        self.step, seconds = 0, 0.0
        if state:
            self.step, seconds = state["step"], state["seconds"]
            self.ema.load_state_dict(state["ema"])
            self.optimizers.load_state_dict(state["optimizers"])
        self.progress = Progress("sam", training.budget, seconds=seconds)

    def run(self) -> None:
        """Train until the budget is used up, then write the checkpoint."""
        saved_s = self.progress.elapsed_s
        for batch in self._batches():
            if (fraction := self.team.agreed(self._fraction())) >= 1:
                break
            # A step's randomness depends on its number alone: that is all a resumed training needs to know.
            step = self.training.seed * 2**32 + self.step
            torch.manual_seed(step * self.team.size + self.team.rank)
            on_device = {name: tensor.to(self.device) for name, tensor in batch.items()}
            metrics = self._learn(on_device, fraction)
            self.step += 1
            self.ema.update(self.step)
            if self.team.rank > 0:
                continue
            self.progress.tell(self.step, self.training.batch_size, **metrics)
            if self.progress.elapsed_s - saved_s >= self.training.save_every_s:
                self.save()
                saved_s = self.progress.elapsed_s
        if self.team.rank == 0:
            self.save()

    def save(self) -> None:
        """Write the state to go on from, and the checkpoint as it is by now."""
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "step": self.step,
            "seconds": self.progress.elapsed_s,
        }
        save_state(self.training.output / STATE_FILE, state)
        averaged = make_sam(self.training.spec)
        averaged.load_state_dict(self.model.sam.state_dict())
        self.ema.copy_to(averaged)
        save_sam(averaged, self.training.output)

    def _learn(self, batch: dict[str, Tensor], fraction: float) -> dict[str, float]:
        rate = learning_rate(self.training.peak_rate, fraction, self.step, self.training.warmup_steps)
        self.model.zero_grad(set_to_none=True)
        with autocast(self.device):
            loss, metrics = self.model(batch)
        loss.backward()
        self.team.average_gradients(self.model)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizers.step(rate)
        return {name: value.item() for name, value in metrics.items()}

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        training = self.training
        # A new range of samples for each seed; they go on where a stopped training ended.
        first = training.seed * _EVER + self.step * training.batch_size
        turn = training.batch_size * max(1, training.workers)
        yield from DataLoader(
            SamSamples(training.spec, first, _EVER, training.views, together=turn),
            batch_size=training.batch_size // self.team.size,
            sampler=_Share(training.batch_size, self.team),
            num_workers=training.workers,
            prefetch_factor=4 if training.workers else None,
            pin_memory=self.device.type == "cuda",
            # Its own, or every start would take a number from the generator that places the clicks.
            generator=torch.Generator(),
        )

    def _fraction(self) -> float:
        return self.training.budget.fraction(self.step, self.progress.elapsed_s)


def _start_grouping(grouping: nn.Module, start: Path) -> None:
    """Go on with a training's grouping, which is no part of a checkpoint, where that training left its state.

    A fresh one would first pull at a trained encoder.
    """
    state = load_state(start / STATE_FILE)
    if state:
        grouping.load_state_dict(_part(state, "grouping"))


def _part(state: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """What a training's state holds of one of the model's parts."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): tensor for key, tensor in state["model"].items() if key.startswith(prefix)
    }


class _Share(torch.utils.data.Sampler[int]):
    """Of 0, 1, 2 and so on those that are a process's. (DataLoader's own sampler would count them first.)"""

    def __init__(self, batch_size: int, team: Team) -> None:
        super().__init__()
        self._batch_size, self._share, self._rank = batch_size, batch_size // team.size, team.rank

    def __iter__(self) -> Iterator[int]:
        for start in range(self._rank * self._share, _EVER, self._batch_size):
            yield from range(start, start + self._share)


def train_sam(training: SamTraining, resume: bool = False) -> None:
    """Train and write a checkpoint into ``training.output``.

    Args:
        resume: go on from the state in ``training.output`` if there is one. Its seconds and steps
            count towards the budget.
    """
    work_together(training.processes, _train, training, resume)


def _train(team: Team, training: SamTraining, resume: bool) -> None:
    SamTrainer(training, resume, team).run()
