"""What the engine tells those who measure it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

logger = logging.getLogger(__name__)

OutcomeKind = Literal["done", "failed", "cancelled", "unavailable"]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step was.

    Attributes:
        lane: latent height and width.
        slots: requests that took it.
        rows: UNet rows that they needed.
        control_rows: of these, rows that the ControlNets worked on.
        padding_rows: rows on top of them, for a runner of fixed sizes.
        seconds: in the runner and around it, without the answers' callbacks.
    """

    lane: tuple[int, int]
    slots: int
    rows: int
    control_rows: int
    padding_rows: int
    seconds: float


class Observer:
    """Does nothing; override what you want to know. Called by the engine's thread, without locks held.

    What it raises is logged and harms nobody.
    """

    def stepped(self, report: StepReport) -> None:
        """A step was taken."""

    def started(self, wait_s: float, priority: int) -> None:
        """A request takes its first step, ``wait_s`` after it was submitted."""

    def stands(self, slots_in_use: int, waiting: int) -> None:
        """Requests that have a slot and that wait for one, at the end of every turn."""

    def ended(self, outcome: OutcomeKind, seconds: float, priority: int) -> None:
        """A request was answered, ``seconds`` after it was submitted."""


def tell(call: Callable[[], None]) -> None:
    """Run a callback of somebody else's; an error of theirs is logged and goes no further."""
    try:
        call()
    except Exception:
        logger.exception("an observer or a ticket failed")
