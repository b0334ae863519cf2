"""The numbers that scheduling follows; chosen and compared with ``packshot_serving.simulator``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from packshot.errors import expected

#: The latency to aim at, in units of a request's time alone.
MAX_SLOWDOWN = 4.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Who gets a slot, and which slots take the next step together.

    Time alone means what a request's steps take on an idle server, ``step_s`` each.

    Attributes:
        max_slots: requests that are in work at the same time, of all lanes together.
        reserved_slots: of them, how many priority 2 leaves free: an interactive request is not to wait for
            a whole one of a catalogue's.
        max_queue_size: requests of each priority that may wait for a slot; more are refused.
        max_batch: slots of a lane that step together; None: all of them. The others pause, which
            costs nothing: their latents simply stay as they are.
        crowded_share: share of a lane's slots that step together where that is more than
            ``max_batch``. A backlog that keeps many waiting anyway is worked off fastest in large
            batches.
        max_lanes: latent sizes that are in work at the same time.
        max_overtakes: admissions that may pass the longest waiting request by (for a higher
            priority, or because its lane is one too many); then it is the next.
        patience: a request steps before another that came up to this much earlier, in units of
            its own remaining time alone: 0 is first come, first served.
        late_patience: is added to ``patience`` once a request can no longer end within
            ``max_slowdown``: it lets those pass that still can, but not forever.
        max_slowdown: the latency to aim at, in units of the request's time alone.
        catalogue_handicap_s: priority 2 steps as if it had arrived that much later.
        step_s: seconds of a step of one slot.
        full_step_s: seconds of a step of ``max_batch`` slots.

    Raises:
        InvalidArgument: a number is out of its range.
    """

    max_slots: int = 4
    reserved_slots: int = 0
    max_queue_size: int = 64
    max_batch: int | None = None
    crowded_share: float = 0.0
    max_lanes: int = 4
    max_overtakes: int = 16
    patience: float = 8.0
    late_patience: float = 8.0
    max_slowdown: float = MAX_SLOWDOWN
    catalogue_handicap_s: float = 30.0
    step_s: float = 0.0
    full_step_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_slots", "max_queue_size", "max_lanes", "max_overtakes"):
            _check_count(name, getattr(self, name))
        if self.max_batch is not None:
            _check_count("max_batch", self.max_batch)
        if not 0 <= self.reserved_slots < self.max_slots:
            raise expected("reserved_slots", self.reserved_slots, f"0 to {self.max_slots - 1}")
        if not 0 <= self.crowded_share <= 1:
            raise expected("crowded_share", self.crowded_share, "0 to 1")
        for name in (
            "patience", "late_patience", "max_slowdown", "catalogue_handicap_s", "step_s", "full_step_s",
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise expected(name, value, "a finite number from 0")

    def batch_limit(self, num_slots: int) -> int:
        """How many of a lane's ``num_slots`` step together."""
        if self.max_batch is None:
            return num_slots
        return min(num_slots, max(self.max_batch, math.ceil(self.crowded_share * num_slots)))


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise expected(name, value, "a positive integer")
