"""A request in the engine: it waits, then it has a slot, then it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from packshot.errors import Cancelled, PackshotError, Unavailable
from packshot_serving.engine.observer import tell
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.schedulers import Schedule
from packshot_serving.engine.slot import Slot
from packshot_serving.engine.ticket import Progress, State, Ticket

CLOSING = "the denoising engine is shutting down; try again"

OnDone = Callable[[np.ndarray | Exception], None]


@dataclass(eq=False, slots=True)
class Job:
    """What the planner decides about; compared by identity.

    Attributes:
        request: as it came, its arrays copied.
        schedule: the scheduler's coefficients.
        on_done: called once, with latents float32 [C, h, w] or with the reason for failing.
        arrived: when it was submitted, in seconds of the engine's clock.
        ticket: told how far it is, asked whether it is still wanted.
        slot: its latents and constants, from its first step on. Those who wait have none, because
            the control image's embedding is many times the size of all else.
    """

    request: DenoiseRequest
    schedule: Schedule
    on_done: OnDone
    arrived: float = 0.0
    ticket: Ticket = field(default_factory=Ticket)
    slot: Slot | None = None

    @property
    def lane(self) -> tuple[int, int]:
        """Latent height and width; only jobs of one lane share a batch."""
        return self.request.latent_size

    @property
    def priority(self) -> int:
        """1 is served before 2."""
        return self.request.priority

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.schedule.num_steps

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.slot.step if self.slot else 0

    @property
    def remaining(self) -> int:
        """Steps not yet taken."""
        return self.num_steps - self.step

    def given_up(self) -> PackshotError | None:
        """Its end, if its caller does not want it any more."""
        if self.ticket.cancelled:
            return Cancelled(f"the request was cancelled at step {self.step} of {self.num_steps}")
        return None

    def waited_in_vain(self, now: float, closing: bool) -> PackshotError | None:
        """Its end, if it has no slot and should not wait for one any longer.

        Args:
            now: by the engine's clock.
            closing: whether the engine gives no more slots away.
        """
        if closing:
            return Unavailable(CLOSING)
        timeout_s = self.request.timeout_s
        if timeout_s and now > self.arrived + timeout_s:
            return Unavailable(f"the request got no slot within {timeout_s:g} s")
        return None

    def report(self, state: State, queue_position: int = 0) -> None:
        """Tell the ticket where the request is."""
        tell(lambda: self.ticket.report(Progress(state, queue_position, self.step, self.num_steps)))

    def show_preview(self) -> None:
        """Give the ticket the latents, if it wants them after this step."""
        slot, interval = self.slot, self.ticket.preview_interval
        if slot and interval and slot.step % interval == 0:
            scale = slot.schedule.input_scale[slot.step]
            tell(lambda: self.ticket.preview(slot.step, slot.sample() * scale))
