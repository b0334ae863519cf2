"""Processes that train one model together: each learns from its share of a step's pictures.

A small network's operations are too short to be shared by threads.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import distributed, nn


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a training, as one of them sees them.

    Attributes:
        rank: of this one; the first, 0, writes and prints.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def average_gradients(self, model: nn.Module) -> None:
        """Give all processes the mean of their gradients. Their models have the same parameters."""
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.size
        parts = together.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agreed(self, value: float) -> float:
        """What the first process says."""
        if self.size == 1:
            return value
        said = torch.tensor(value, dtype=torch.float64)
        distributed.broadcast(said, 0)
        return said.item()


#: One process by itself.
ALONE = Team()


def work_together(processes: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(team, *arguments)`` in several processes, or in this one if one is wanted.

    Args:
        processes: how many; they share the cores.
        work: a function of a module; it and what it is given are pickled.

    Raises:
        torch.multiprocessing.ProcessRaisedException: one of several processes failed; the others are ended.
            Each that fails says why on standard error.
    """
    if processes == 1:
        work(ALONE, *arguments)
        return
    with TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_join, (processes, Path(folder, "meeting"), work, arguments), processes)


def _join(rank: int, size: int, meeting: Path, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # How it hears that what started it is gone; a shell's background job would not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=size)
    try:
        work(Team(rank, size), *arguments)
    except Exception:
        # What is raised in the end may be that another lost its connection to this one.
        traceback.print_exc()
        raise
    finally:
        distributed.destroy_process_group()
