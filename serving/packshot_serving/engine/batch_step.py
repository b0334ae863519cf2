"""One step of a batch of slots, with failures kept to the requests that cause them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from packshot.arrays import describe
from packshot.errors import InternalError, PackshotError
from packshot_serving.engine.noise import add_step_noise, adds_noise
from packshot_serving.engine.runner import (
    Residence,
    ResidentRunner,
    Runner,
    StepBatch,
    StepNumbers,
    StepRunner,
)
from packshot_serving.engine.slot import (
    BatchConstants,
    RowPlan,
    Slot,
    batch_constants,
    build_batch,
    build_numbers,
    row_plan,
)

logger = logging.getLogger(__name__)

Constants = TypeVar("Constants")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a request ended: latents, float32 [C, h, w], or the error that stopped it."""

    slot: Slot
    result: np.ndarray | PackshotError


@dataclass(frozen=True, slots=True, eq=False)
class StepTaken:
    """What a step of a batch came to.

    Attributes:
        rows: UNet rows that the slots needed.
        control_rows: of these, rows that the ControlNets worked on.
        padding_rows: rows on top of them.
        outcomes: of the slots that have ended.
        largest: slots of the largest batch that the runner computed; 0 if none.
    """

    rows: int
    control_rows: int
    padding_rows: int
    outcomes: list[Outcome]
    largest: int


#: Of each slot, whether its next step is guided and whether ControlNets work on it.
_Rows = list[tuple[bool, bool]]


class StepCache:
    """Remembers what each lane's last batch had that is constant, for as long as its slots stay."""

    def __init__(self) -> None:
        self._by_lane: dict[tuple[int, int], tuple[tuple[Slot, ...], _Rows, Any]] = {}

    def constants(self, slots: Sequence[Slot]) -> BatchConstants:
        """``batch_constants(slots)``, computed anew only when the slots or their rows have changed."""
        return self._remembered(slots, batch_constants)

    def rows(self, slots: Sequence[Slot]) -> RowPlan:
        """``row_plan(slots)``, likewise. An engine asks for the one or the other."""
        return self._remembered(slots, row_plan)

    def forget(self, lane: tuple[int, int]) -> None:
        """Let go of a lane's batch, so that finished requests do not stay in memory."""
        self._by_lane.pop(lane, None)

    def _remembered(self, slots: Sequence[Slot], make: Callable[[Sequence[Slot]], Constants]) -> Constants:
        lane, members = slots[0].lane, tuple(slots)
        # Guidance ends, and the ControlNets' windows open and close, while the slots stay the same.
        rows = [(slot.guided, slot.controlled) for slot in members]
        known = self._by_lane.get(lane)
        if known is not None and known[:2] == (members, rows):
            return known[2]
        made = make(members)
        self._by_lane[lane] = members, rows, made
        return made


@dataclass(frozen=True, slots=True, eq=False)
class _Computed:
    """A step as the runner left it.

    Attributes:
        numbers: of the slots, without padding.
        rows: computed, padding included.
        finite: bool [B], of each slot.
        next_state: float32 [B, m, C, h, w]; None where the runner keeps it.
    """

    numbers: StepNumbers
    rows: int
    finite: np.ndarray
    next_state: np.ndarray | None


def advance(runner: Runner, slots: Sequence[Slot], cache: StepCache | None = None) -> StepTaken:
    """Take one step with every slot.

    If the runner fails with a batch, its halves are tried, and theirs: a batch that is too large
    for the memory still moves on, and a request that breaks the runner is found and fails alone.
    A row that becomes NaN or infinite fails its own request only.

    Args:
        runner: computes the step.
        slots: of one lane, none finished. Their ``state`` and ``step`` move on.
        cache: of the engine that the slots belong to.
    """
    try:
        computed = _compute(runner, slots, cache)
    except Exception as error:
        logger.exception("a step failed, requests %s", [slot.request_id for slot in slots])
        taken = _in_halves(runner, slots, error)
    else:
        outcomes, numbers = _collect(slots, computed), computed.numbers
        padding_rows = computed.rows - numbers.num_rows
        taken = StepTaken(numbers.num_rows, numbers.num_control_rows, padding_rows, outcomes, len(slots))
    if cache and taken.outcomes:
        cache.forget(slots[0].lane)
    return taken


def repeatable_step(runner: Runner, slots: Sequence[Slot]) -> Callable[[], object]:
    """What takes the slots' next step each time it is called, for measurements; the slots do not move on."""
    if isinstance(runner, ResidentRunner):
        residences, numbers = _residences(slots), build_numbers(slots, row_plan(slots))
        return lambda: runner.step_resident(residences, numbers)
    batch = build_batch(slots)
    return lambda: checked_step(runner, batch)


def _compute(runner: Runner, slots: Sequence[Slot], cache: StepCache | None) -> _Computed:
    if isinstance(runner, ResidentRunner):
        numbers = build_numbers(slots, cache.rows(slots) if cache else row_plan(slots))
        finite, rows = runner.step_resident(_residences(slots), numbers)
        return _Computed(numbers, rows, finite, None)
    batch = build_batch(slots, cache.constants(slots) if cache else None)
    next_state = checked_step(runner, batch)
    finite = np.isfinite(next_state).reshape(len(slots), -1).all(axis=1)
    return _Computed(batch, batch.num_rows, finite, next_state)


def _residences(slots: Sequence[Slot]) -> list[Residence]:
    return [slot.residence for slot in slots if slot.residence is not None]


def checked_step(runner: StepRunner, batch: StepBatch) -> np.ndarray:
    """The next state of the batch.

    Raises:
        InternalError: the runner answers another shape or dtype than the batch has.
    """
    next_state = runner.step(batch)
    if next_state.shape != batch.state.shape or next_state.dtype != np.float32:
        raise InternalError(f"next_state: got {describe(next_state)}, expected {describe(batch.state)}")
    return next_state


def _in_halves(runner: Runner, slots: Sequence[Slot], error: Exception) -> StepTaken:
    if len(slots) == 1:
        return StepTaken(slots[0].num_rows, 0, 0, [_failed(slots[0], error)], 0)
    middle = (len(slots) + 1) // 2
    first, second = advance(runner, slots[:middle]), advance(runner, slots[middle:])
    return StepTaken(
        first.rows + second.rows,
        first.control_rows + second.control_rows,
        first.padding_rows + second.padding_rows,
        first.outcomes + second.outcomes,
        max(first.largest, second.largest),
    )


def _failed(slot: Slot, error: Exception) -> Outcome:
    answer = InternalError(
        f"denoising failed at step {slot.step + 1} of {slot.num_steps}; the server's log says why"
    )
    answer.__cause__ = error
    return Outcome(slot, answer)


def _collect(slots: Sequence[Slot], computed: _Computed) -> list[Outcome]:
    """Move the slots on; the outcomes of those that have ended."""
    outcomes: list[Outcome] = []
    for index, slot in enumerate(slots):
        try:
            _move_on(slot, None if computed.next_state is None else computed.next_state[index])
            # A copy: the view would keep the neighbours' latents in memory.
            latents = slot.sample().copy() if slot.finished else None
        except Exception as error:
            logger.exception("request %r: its latents are lost", slot.request_id)
            outcomes.append(_failed(slot, error))
            continue
        if not computed.finite[index]:
            message = f"the latents became NaN or infinite at step {slot.step} of {slot.num_steps}"
            logger.error("request %r: %s", slot.request_id, message)
            outcomes.append(Outcome(slot, InternalError(message)))
        elif latents is not None:
            outcomes.append(Outcome(slot, latents))
    return outcomes


def _move_on(slot: Slot, state: np.ndarray | None) -> None:
    """One step further, with the noise that the scheduler adds to the state, here or on the device."""
    if slot.residence is None and state is not None:
        slot.state = add_step_noise(state, slot.schedule, slot.seed, slot.step)
    elif slot.residence is not None and adds_noise(slot.schedule, slot.step):
        slot.residence.write(add_step_noise(slot.residence.read(), slot.schedule, slot.seed, slot.step))
    slot.step += 1
