"""One step of a batch of slots, with failures kept to the requests that cause them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from packshot.arrays import describe
from packshot.errors import InternalError, PackshotError
from packshot_serving.engine.runner import StepBatch, StepRunner
from packshot_serving.engine.slot import BatchConstants, Slot, batch_constants, build_batch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a request ended: latents, float32 [C, h, w], or the error that stopped it."""

    slot: Slot
    result: np.ndarray | PackshotError


class StepCache:
    """Remembers the constant inputs of each lane's last batch, for as long as its slots stay."""

    def __init__(self) -> None:
        self._by_lane: dict[tuple[int, int], tuple[tuple[Slot, ...], BatchConstants]] = {}

    def constants(self, slots: Sequence[Slot]) -> BatchConstants:
        """``batch_constants(slots)``, computed anew only when the slots have changed."""
        lane, members = slots[0].lane, tuple(slots)
        known, constants = self._by_lane.get(lane, ((), None))
        if constants is None or known != members:
            constants = batch_constants(members)
            self._by_lane[lane] = members, constants
        return constants

    def forget(self, lane: tuple[int, int]) -> None:
        """Let go of a lane's batch, so that finished requests do not stay in memory."""
        self._by_lane.pop(lane, None)


def advance(runner: StepRunner, slots: Sequence[Slot], cache: StepCache) -> tuple[int, list[Outcome]]:
    """Take one step with every slot.

    If the runner fails with a batch, each slot is tried again alone, so that a request that
    breaks the runner cannot take its neighbours down. A row that becomes NaN or infinite fails
    its own request only.

    Args:
        runner: computes the step.
        slots: of one lane, none finished. Their ``state`` and ``step`` move on.
        cache: of the engine that the slots belong to.

    Returns:
        The rows that were computed, and the outcomes of the slots that have ended.
    """
    try:
        next_state = _checked_step(runner, build_batch(slots, cache.constants(slots)))
    except Exception as error:
        logger.exception("a step failed, requests %s", [slot.request_id for slot in slots])
        outcomes = [_failed(slots[0], error)] if len(slots) == 1 else _step_alone(runner, slots)
    else:
        outcomes = _collect(slots, next_state)
    if outcomes:
        cache.forget(slots[0].lane)
    return sum(slot.num_rows for slot in slots), outcomes


def _checked_step(runner: StepRunner, batch: StepBatch) -> np.ndarray:
    next_state = runner.step(batch)
    if next_state.shape != batch.state.shape or next_state.dtype != np.float32:
        raise InternalError(f"next_state: got {describe(next_state)}, expected {describe(batch.state)}")
    return next_state


def _step_alone(runner: StepRunner, slots: Sequence[Slot]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for slot in slots:
        try:
            next_state = _checked_step(runner, build_batch([slot]))
        except Exception as error:
            logger.exception("request %r: its step failed alone, too", slot.request_id)
            outcomes.append(_failed(slot, error))
        else:
            outcomes += _collect([slot], next_state)
    return outcomes


def _failed(slot: Slot, error: Exception) -> Outcome:
    answer = InternalError(
        f"denoising failed at step {slot.step + 1} of {slot.schedule.num_steps}; the server's log says why"
    )
    answer.__cause__ = error
    return Outcome(slot, answer)


def _collect(slots: Sequence[Slot], next_state: np.ndarray) -> list[Outcome]:
    """Move the slots on; the outcomes of those that have ended."""
    outcomes: list[Outcome] = []
    finite = np.isfinite(next_state).reshape(len(slots), -1).all(axis=1)
    for slot, state, is_finite in zip(slots, next_state, finite, strict=True):
        slot.state = state
        slot.step += 1
        if not is_finite:
            logger.error(
                "request %r: NaN or infinity after step %d of %d",
                slot.request_id,
                slot.step,
                slot.schedule.num_steps,
            )
            outcomes.append(
                Outcome(
                    slot,
                    InternalError(
                        f"the latents became NaN or infinite at step {slot.step} of {slot.schedule.num_steps}"
                    ),
                )
            )
        elif slot.finished:
            # A copy: the view would keep the neighbours' latents in memory.
            outcomes.append(Outcome(slot, state[0].copy()))
    return outcomes
