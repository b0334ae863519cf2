"""How many slots pay on this machine: measured, not guessed."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from packshot.errors import expected
from packshot.family import Family
from packshot.parameters import Parameters
from packshot_serving.engine.batch_step import repeatable_step
from packshot_serving.engine.policy import MAX_SLOWDOWN, Policy
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import Runner, most_slots
from packshot_serving.engine.slot import Slot

logger = logging.getLogger(__name__)

#: Slots of the steps that are timed.
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
#: What doubling a batch has to bring in slots a second to be worth everybody's longer steps.
MIN_GAIN = 1.1
#: What it, or the one after it, has to bring for a still larger one to be measured.
LEAST_GAIN = 1.03
#: By how much the fastest batch has to be faster than a common one for a backlog to use it.
CROWDED_GAIN = 1.05
_FEW = 3
_FAILED = "a step of %d slots failed; smaller ones are used"


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds of a step of n slots, measured at some n, in between on straight lines.

    Attributes:
        batch_sizes: slots, ascending, from 1.
        seconds: of a step, one for each of them.

    Raises:
        InvalidArgument: the sizes do not ascend from 1, or a time is not positive.
    """

    batch_sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if (
            not self.batch_sizes
            or self.batch_sizes[0] != 1
            or list(self.batch_sizes) != sorted(set(self.batch_sizes))
        ):
            raise expected("batch_sizes", self.batch_sizes, "ascending numbers, from 1")
        if len(self.seconds) != len(self.batch_sizes) or not all(
            0 < second < np.inf for second in self.seconds
        ):
            raise expected("seconds", self.seconds, f"{len(self.batch_sizes)} positive numbers")

    @classmethod
    def affine(cls, base_s: float, slot_s: float, batch_sizes: Sequence[int] = BATCH_SIZES) -> StepTimes:
        """``base_s + slot_s * n``."""
        return cls(tuple(batch_sizes), tuple(base_s + slot_s * n for n in batch_sizes))

    def at(self, num_slots: int) -> float:
        """Seconds of a step of so many slots; beyond the largest size as the last line goes on, or level."""
        sizes, seconds = self.batch_sizes, self.seconds
        if len(sizes) == 1:
            return seconds[0] * num_slots
        right = next((i for i, size in enumerate(sizes) if size >= num_slots), len(sizes) - 1)
        right = max(right, 1)
        slope = (seconds[right] - seconds[right - 1]) / (sizes[right] - sizes[right - 1])
        if num_slots > sizes[-1]:  # a last size that was quicker by chance does not make larger ones free
            slope = max(slope, 0.0)
        return seconds[right] + slope * (num_slots - sizes[right])


def measure_step_times(
    runner: Runner,
    family: Family,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    *,
    side: int | None = None,
    repeats: int = 3,
    budget_s: float = 1.5,
    clock: Callable[[], float] = time.perf_counter,
) -> StepTimes:
    """Time guided steps of several sizes; the least of up to ``repeats`` after one to warm up.

    The sizes are found first, each timed once. The series ends when two in a row bring next to nothing, or
    with the first that the runner cannot compute (too large for its plan or for the memory, say) or that
    would go beyond the budget. A machine so slow that a second size is beyond it is one that a single slot
    keeps busy. Then all take turns while the budget lasts: a tenth decides between two sizes, and what else
    the machine does for a moment must not slow down one of them alone.

    Args:
        runner: of the family.
        family: what the runner's graphs were made from.
        batch_sizes: slots, ascending, from 1.
        side: of the square canvas in pixels; None: the family's largest, up to 512, or up to 256 on
            a machine that has no time for larger ones.
        repeats: timed steps of each size, fewer where the budget ends.
        budget_s: seconds for everything. One step of size 1 is taken in any case; a larger size is
            begun only if there is time for two steps that take twice as long as the last size's.
        clock: seconds, monotonic.

    Raises:
        InvalidArgument: ``batch_sizes`` do not ascend from 1.
        Exception: whatever the runner raises for a single slot: such a model cannot be served.
    """
    StepTimes(tuple(batch_sizes), (1.0,) * len(batch_sizes))  # refuses bad sizes before any work
    deadline = clock() + budget_s
    slot = synthetic_slot(runner, family, side or _side(runner, family, budget_s, clock))
    most = most_slots(runner, slot.lane)
    sizes = [size for size in batch_sizes if size == 1 or most is None or size <= most]
    steps: list[_TimedStep] = []
    for size in sizes:
        # One to warm up and one to count, each expected to take twice as long as the last size's.
        if steps and clock() + 2 * 2 * steps[-1].least_s > deadline:
            break
        if not _still_gaining(sizes[: len(steps)], [step.least_s for step in steps]):
            break
        try:
            steps.append(_TimedStep(repeatable_step(runner, [slot] * size), clock, deadline))
        except Exception:
            if not steps:
                raise
            logger.exception(_FAILED, size)
            break
    for _ in range(repeats - 1):
        for number, step in enumerate(steps):
            try:
                step.again(deadline)
            except Exception:
                if not number:
                    raise
                logger.exception(_FAILED, sizes[number])
                del steps[number:]
                break
    times = StepTimes(tuple(sizes[: len(steps)]), tuple(step.least_s for step in steps))
    for size, second in zip(times.batch_sizes, times.seconds, strict=True):
        logger.info("a step of %d slots takes %.4f s: %.2f slots a second", size, second, size / second)
    return times


def choose_capacity(times: StepTimes) -> int:
    """How many slots should step together: as many as pay and leave each of them quick enough.

    From one measured size to the next the slots a second must grow by ``MIN_GAIN`` for a doubling;
    and a step may take at most ``MAX_SLOWDOWN`` times that of one slot, because else nobody in a
    full batch ends within that many times its latency alone.
    """
    fastest = _largest_that_pays(times)
    return max(n for n in range(1, fastest + 1) if n == 1 or times.at(n) <= MAX_SLOWDOWN * times.at(1))


def choose_policy(times: StepTimes, max_slots: int | None = None, max_batch: int | None = None) -> Policy:
    """The policy for a machine, as the simulator found it best.

    Args:
        times: measured on it.
        max_slots: overrides the number of slots; by default six times those that step
            together, 4 to 65; at least 16 where a backlog steps in larger batches.
        max_batch: overrides the number of those, in a backlog, too.
    """
    capacity = max_batch or choose_capacity(times)
    if max_slots is not None:
        capacity = min(capacity, max_slots)
    # Large batches help a backlog only where they are the faster ones.
    fastest = max(size / second for size, second in zip(times.batch_sizes, times.seconds, strict=True))
    crowded = max_batch is None and fastest >= CROWDED_GAIN * capacity / times.at(capacity)
    # Where a batch is full with a few, two or three at a time are no backlog: half leaves them their turns.
    share = 0.8 if capacity > _FEW else 0.5
    most = max_slots or max(capacity + 1, min(64, max(16 if crowded else 4, 6 * capacity)))
    policy = Policy(
        max_slots=most,
        # A catalogue fills the steps without them.
        reserved_slots=min(capacity, most - capacity),
        max_batch=capacity,
        crowded_share=share if crowded else 0.0,
        step_s=times.at(1),
        full_step_s=times.at(capacity),
    )
    logger.info("%d slots step together, %d are in work: %s", capacity, policy.max_slots, policy)
    return policy


def _largest_that_pays(times: StepTimes) -> int:
    measured = list(zip(times.batch_sizes, times.seconds, strict=True))
    for (size, second), (larger, longer) in itertools.pairwise(measured):
        if (larger / longer) / (size / second) < MIN_GAIN ** np.log2(larger / size):
            return size
    return times.batch_sizes[-1]


def _still_gaining(sizes: Sequence[int], seconds: Sequence[float]) -> bool:
    """Whether one of the last two sizes is faster than all before; one alone may have had bad luck."""
    rates = [size / second for size, second in zip(sizes, seconds, strict=True)]
    return len(rates) < 3 or max(rates[-2:]) >= LEAST_GAIN * max(rates[:-2])


class _TimedStep:
    """The least that a step took, not counting one to warm up unless there is no time for another."""

    def __init__(self, step: Callable[[], object], clock: Callable[[], float], deadline: float) -> None:
        self._step, self._clock = step, clock
        first = self._take()  # allocates and compiles
        self.least_s = self._take() if clock() + first <= deadline else first

    def again(self, deadline: float) -> None:
        """Once more, if there is time for it."""
        if self._clock() + self.least_s <= deadline:
            self.least_s = min(self.least_s, self._take())

    def _take(self) -> float:
        began = self._clock()
        self._step()
        return self._clock() - began


def _side(runner: Runner, family: Family, budget_s: float, clock: Callable[[], float]) -> int:
    canvas = family.canvas
    small, large = (
        max(canvas.min_side, min(canvas.max_side, side)) // canvas.multiple * canvas.multiple
        for side in (256, 512)
    )
    if small == large:
        return large
    step = repeatable_step(runner, [synthetic_slot(runner, family, small)])
    small_s = _TimedStep(step, clock, clock() + budget_s / 8).least_s
    # Attention makes twice the side up to eight times as long, and several sizes have to be timed.
    return large if 8 * 8 * small_s < budget_s else small


def synthetic_slot(runner: Runner, family: Family, side: int) -> Slot:
    """A guided request's slot on a square canvas of so many pixels, with the family's own scheduler."""
    canvas, dims, own = family.canvas, family.dims, family.parameters({})
    latent = side // canvas.multiple
    request = DenoiseRequest(
        prompt_embeds=np.zeros((dims["T"], dims["D"]), np.float32),
        negative_prompt_embeds=np.zeros((dims["T"], dims["D"]), np.float32),
        masked_image_latents=np.zeros((dims["C"], latent, latent), np.float32),
        mask_latents=np.ones((1, latent, latent), np.float32),
        control_image=np.zeros((dims["K"], side, side), np.uint8),
        parameters=Parameters(scheduler=own.scheduler, num_inference_steps=own.num_inference_steps),
        request_id="measurement",
    )
    preparation = Preparation(runner, family)
    return preparation.begin(request, preparation.check(request))
