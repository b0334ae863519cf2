"""A caller's view of its request: how far it is, and a way to give it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

State = Literal["preparing", "waiting", "running", "ended"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a request is.

    Attributes:
        state: ``preparing``, ``waiting`` for a slot, ``running`` or ``ended``.
        queue_position: 1 is seated next; 0 when not waiting.
        step: steps taken.
        num_steps: steps that it takes; 0 while preparing.
    """

    state: State = "preparing"
    queue_position: int = 0
    step: int = 0
    num_steps: int = 0


class Ticket:
    """Handed to :meth:`Engine.submit`, or made by it.

    Any thread may read ``progress`` and call ``cancel``: both take no lock. A subclass may
    publish elsewhere what the engine reports, or learn elsewhere that the caller has gone; what it
    overrides is called by the engine once or twice a step, so it must be quick and not raise.

    Attributes:
        preview_interval: steps from preview to preview; 0 for none.
    """

    preview_interval: int = 0

    def __init__(self) -> None:
        self._progress = Progress()
        self._cancelled = False

    @property
    def progress(self) -> Progress:
        """The latest report."""
        return self._progress

    @property
    def cancelled(self) -> bool:
        """Whether the request was given up; the engine asks before each step."""
        return self._cancelled

    def cancel(self) -> None:
        """Give the request up: its slot is free after at most one step. Does nothing at its end."""
        self._cancelled = True

    def report(self, progress: Progress) -> None:
        """Called by the engine when the request has moved."""
        self._progress = progress

    def preview(self, step: int, latents: np.ndarray) -> None:
        """Called by the engine after every ``preview_interval``th step that is not the last.

        Args:
            step: steps taken.
            latents: float32 [C, h, w], the noisy sample as the UNet sees it next.
        """
