"""The engine: a thread that steps whatever requests are there, together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType

import numpy as np

from packshot.arrays import describe
from packshot.errors import InternalError, PackshotError, Unavailable, expected
from packshot.family import Family
from packshot_serving.engine.batch_step import Outcome, StepCache, advance
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import StepRunner
from packshot_serving.engine.schedulers import STATE_SIZE, make_schedule
from packshot_serving.engine.slot import OnDone, Slot, open_slot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step was.

    Attributes:
        rows: UNet rows.
        slots: requests.
        seconds: in the runner and around it, without the answers' callbacks.
    """

    rows: int
    slots: int
    seconds: float


class Engine:
    """Denoises many requests at once, one step of a batch at a time.

    Before every step waiting requests take their places, and after it the finished ones leave:
    a newcomer waits for at most one step of each *lane*. A lane is the set of requests of one
    latent size; only they can share a batch. Lanes take turns, one step each.

    The engine's thread starts here and ends with :meth:`close`. Every submitted request is
    answered exactly once, whatever happens to the engine.

    Args:
        runner: computes the steps.
        family: what the runner's graphs were made from.
        max_slots: requests that are denoised at the same time, of all sizes together.
        on_step: called after every step, by the engine's thread.
        clock: seconds, monotonic; for tests and simulation.

    Raises:
        InvalidArgument: ``max_slots`` is not positive.
    """

    def __init__(
        self,
        runner: StepRunner,
        family: Family,
        max_slots: int = 4,
        *,
        on_step: Callable[[StepReport], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if max_slots < 1:
            raise expected("max_slots", max_slots, "a positive integer")
        self.family = family
        self.max_slots = max_slots
        self._runner = runner
        self._on_step = on_step
        self._clock = clock
        # A schedule depends on nothing but these two, and costs more than a small step.
        self._schedule = lru_cache(maxsize=64)(
            lambda scheduler, num_steps: make_schedule(scheduler, family.scheduler, num_steps, STATE_SIZE)
        )
        # One lock for all that follows; the engine's thread and submitters wait on it.
        self._changed = threading.Condition()
        self._submitters: deque[object] = deque()  # who waits for a place, in order of arrival
        self._joining: list[Slot] = []  # have a place, take part from the next step on
        self._lanes: dict[tuple[int, int], list[Slot]] = {}  # the first one steps next
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="denoising-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether requests are taken: False once closed, or when the engine's thread has died."""
        with self._changed:
            return not self._closed and self._failure is None

    @property
    def slots_in_use(self) -> int:
        """Requests that have a place."""
        with self._changed:
            return self._occupied()

    @property
    def callers_waiting(self) -> int:
        """Callers of :meth:`submit` that wait for a slot."""
        with self._changed:
            return len(self._submitters)

    def submit(self, request: DenoiseRequest, on_done: OnDone) -> None:
        """Hand a request over; blocks while no slot is free.

        Everything that is done once for a request (checks, scheduler coefficients, noise, the
        control image's embedding) is done here, in the caller's thread. Callers get their places
        in the order in which they arrive.

        Args:
            request: its arrays may be reused once this returns.
            on_done: called exactly once if this returns, never if it raises; by the engine's
                thread, so it must not block and must not submit. Gets the latents,
                float32 [C, h, w], or the PackshotError that stopped the request.

        Raises:
            InvalidArgument: see :meth:`DenoiseRequest.check`.
            RepositoryError: the checkpoint's scheduler options rule this scheduler out.
            InternalError: the control image's embedding failed.
            Unavailable: the engine is closed or its thread has died.
        """
        with self._changed:
            self._require_open()
        slot = self._prepare(request, on_done)
        place = object()
        with self._changed:
            self._submitters.append(place)
            try:
                while self._submitters[0] is not place or self._occupied() >= self.max_slots:
                    self._require_open()
                    self._changed.wait()
                self._require_open()
                self._joining.append(slot)
            finally:
                self._submitters.remove(place)
                self._changed.notify_all()

    def close(self) -> None:
        """Stop. What runs or waits is answered with Unavailable; returns when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _require_open(self) -> None:
        if self._failure is not None:
            raise Unavailable("the denoising engine has died; its log says why")
        if self._closed:
            raise Unavailable("the denoising engine is shutting down")

    def _occupied(self) -> int:
        return len(self._joining) + sum(map(len, self._lanes.values()))

    def _prepare(self, request: DenoiseRequest, on_done: OnDone) -> Slot:
        request.check(self.family)
        parameters = request.parameters
        schedule = self._schedule(parameters.scheduler, parameters.num_inference_steps)
        try:
            embedding = self._runner.embed_control(request.control_image)
        except Exception as error:
            logger.exception("request %r: the control image's embedding failed", request.request_id)
            raise InternalError("the control image's embedding failed; the server's log says why") from error
        height, width = request.latent_size
        dims = self.family.dims
        if embedding.shape != (dims["K"], dims["G"], height, width) or embedding.dtype != np.float32:
            raise InternalError(
                f"control_embedding: got {describe(embedding)}, "
                f"expected float32[{dims['K']},{dims['G']},{height},{width}]"
            )
        return open_slot(request, self.family, schedule, embedding, on_done)

    def _run(self) -> None:
        """The engine's thread."""
        cache = StepCache()
        try:
            while self._take_turn(cache):
                pass
            self._abandon(Unavailable("the denoising engine is shutting down; try again"))
        except BaseException as error:  # nobody else can answer the requests then
            logger.critical("the denoising engine has died", exc_info=error)
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            self._abandon(InternalError("the denoising engine has died; the server's log says why"))

    def _take_turn(self, cache: StepCache) -> bool:
        """Wait for work and step one lane; False once closed. Its locals hold no request afterwards."""
        slots = self._next_lane()
        if slots is None:
            return False
        started = self._clock()
        rows, outcomes = advance(self._runner, slots, cache)
        report = StepReport(rows, len(slots), self._clock() - started)
        self._release([outcome.slot for outcome in outcomes])
        self._answer(outcomes)
        self._tell(report)
        return True

    def _next_lane(self) -> list[Slot] | None:
        """Wait for work, seat the newcomers and take the lane whose turn it is; None once closed."""
        with self._changed:
            while not self._closed and not self._occupied():
                self._changed.wait()
            if self._closed:
                return None
            for slot in self._joining:
                self._lanes.setdefault(slot.lane, []).append(slot)
            self._joining.clear()
            lane = next(iter(self._lanes))
            self._lanes[lane] = slots = self._lanes.pop(lane)  # to the end of the line
            return list(slots)

    def _release(self, leaving: Sequence[Slot]) -> None:
        """Free the slots of requests that have ended, before anybody hears of it."""
        if not leaving:
            return
        with self._changed:
            lane = leaving[0].lane
            stay = [slot for slot in self._lanes.pop(lane) if slot not in leaving]
            if stay:
                self._lanes[lane] = stay
            self._changed.notify_all()

    def _abandon(self, reason: PackshotError) -> None:
        """Answer everything that has a place."""
        with self._changed:
            slots = [slot for lane in self._lanes.values() for slot in lane] + self._joining
            self._lanes.clear()
            self._joining = []
            self._changed.notify_all()
        self._answer([Outcome(slot, reason) for slot in slots])

    def _answer(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            try:
                outcome.slot.on_done(outcome.result)
            except BaseException:  # whatever a caller's code raises, the next request gets its answer
                logger.exception("request %r: its answer could not be delivered", outcome.slot.request_id)

    def _tell(self, report: StepReport) -> None:
        if self._on_step is None:
            return
        try:
            self._on_step(report)
        except Exception:
            logger.exception("on_step failed")
