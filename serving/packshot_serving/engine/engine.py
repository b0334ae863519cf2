"""The engine: a thread that takes the steps which the planner decides on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from packshot.errors import Cancelled, InternalError, PackshotError, Unavailable
from packshot.family import Family
from packshot_serving.engine.batch_step import Outcome, StepCache, StepTaken, advance
from packshot_serving.engine.observer import Observer, OutcomeKind, StepReport, tell
from packshot_serving.engine.planner import StepPlanner
from packshot_serving.engine.policy import Policy
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import StepRunner
from packshot_serving.engine.slot import OnDone, Slot
from packshot_serving.engine.ticket import Progress, Ticket

logger = logging.getLogger(__name__)

#: Steps for which batches stay small after a large one failed.
CAUTIOUS_STEPS = 256


class Engine:
    """Denoises many requests at once, one step of a batch at a time.

    Every decision is the :class:`StepPlanner`'s; here are the thread and its lock. Before every
    step waiting requests take their places, and after it the finished ones leave. The thread
    starts here and ends with :meth:`close`. Every submitted request is answered exactly once,
    whatever happens to the engine.

    Args:
        runner: computes the steps.
        family: what the runner's graphs were made from.
        max_slots: requests that are in work at the same time, of all sizes together.
        policy: how they are scheduled; ``max_slots`` is then its own.
        observer: is told what happens.
        clock: seconds, monotonic.

    Raises:
        InvalidArgument: ``max_slots`` is not positive.
    """

    def __init__(
        self,
        runner: StepRunner,
        family: Family,
        max_slots: int = 4,
        *,
        policy: Policy | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.policy = policy or Policy(max_slots)
        self._runner = runner
        self._observer = observer or Observer()
        self._clock = clock
        self._prepare = Preparation(runner, family)
        # One lock for all that follows; the engine's thread and submitters wait on it.
        self._changed = threading.Condition()
        self._planner: StepPlanner[Slot] = StepPlanner(self.policy)
        self._close_at: float | None = None  # no step begins after it
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
    def max_slots(self) -> int:
        """Requests that are in work at the same time."""
        return self.policy.max_slots

    @property
    def alive(self) -> bool:
        """Whether requests are taken: False once closed, or when the engine's thread has died."""
        with self._changed:
            return self._close_at is None and self._failure is None

    @property
    def slots_in_use(self) -> int:
        """Requests that have a place."""
        with self._changed:
            return self._planner.num_seated

    @property
    def callers_waiting(self) -> int:
        """Callers of :meth:`submit` that wait for a slot."""
        with self._changed:
            return len(self._planner.waiting)

    def submit(self, request: DenoiseRequest, on_done: OnDone, *, ticket: Ticket | None = None) -> Ticket:
        """Hand a request over; blocks while it gets no slot.

        Everything that is done once for a request (checks, scheduler coefficients, noise, the
        control image's embedding) is done here, in the caller's thread.

        Args:
            request: its arrays may be reused once this returns.
            on_done: called exactly once if this returns, never if it raises; by the engine's
                thread, so it must not block and must not submit. Gets the latents,
                float32 [C, h, w], or the PackshotError that stopped the request.
            ticket: told how far the request is; a new one if none is given.

        Returns:
            The ticket.

        Raises:
            InvalidArgument: see :meth:`DenoiseRequest.check`.
            RepositoryError: the checkpoint's scheduler options rule this scheduler out.
            InternalError: the control image's embedding failed.
            Unavailable: the engine is closed or its thread has died.
            Cancelled: the ticket was cancelled before the request got a slot.
        """
        arrived, ticket = self._clock(), ticket or Ticket()
        with self._changed:
            self._require_open()
        slot = self._prepare(request, on_done, arrived, ticket)
        with self._changed:
            self._require_wanted(slot)
            self._planner.arrive(slot)
            self._seat()
            try:
                while slot in self._planner.waiting:
                    self._require_wanted(slot)
                    self._changed.wait()
            finally:
                if slot in self._planner.waiting:
                    self._planner.leave(slot)
                    self._seat()
        return ticket

    def wait_for_slot(self) -> bool:
        """Block until a newcomer would get a slot at once; False if the engine has stopped.

        For those who keep a queue of their own: whom they take from it after this is seated.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._planner.has_room or not self._open)
            return self._open

    def close(self, drain_s: float = 0.0) -> None:
        """Stop; returns when the thread has ended. A second time does nothing.

        Callers that wait for a slot get Unavailable at once. Those that have one are served for
        at most ``drain_s``, then answered with Unavailable, too.
        """
        with self._changed:
            if self._close_at is None:
                self._close_at = self._clock() + drain_s
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def _open(self) -> bool:
        return self._close_at is None and self._failure is None

    def _require_open(self) -> None:
        if self._failure is not None:
            raise Unavailable("the denoising engine has died; its log says why")
        if self._close_at is not None:
            raise Unavailable("the denoising engine is shutting down")

    def _require_wanted(self, slot: Slot) -> None:
        self._require_open()
        if slot.ticket.cancelled:
            raise Cancelled("the request was cancelled while it waited for a slot")

    def _seat(self) -> None:
        """Give free slots away, and tell everybody where they are now; the lock is held."""
        for slot in self._planner.seat():
            _report(slot, Progress("running", 0, 0, slot.num_steps))
        for position, slot in enumerate(self._planner.queue(), start=1):
            _report(slot, Progress("waiting", position, 0, slot.num_steps))
        self._changed.notify_all()

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
        if not self._wait_for_work():
            return False
        self._sweep(cache)
        with self._changed:
            started = self._clock()
            slots = self._planner.plan(started)
        if not slots:
            return True  # everybody has cancelled
        lane = slots[0].lane
        for slot in slots:
            if not slot.step:
                wait_s, priority = started - slot.arrived, slot.priority
                tell(lambda wait_s=wait_s, priority=priority: self._observer.started(wait_s, priority))
        taken = advance(self._runner, slots, cache)
        seconds = self._clock() - started
        self._settle(slots, taken)
        self._answer(taken.outcomes)
        self._tell_step(lane, len(slots), taken, seconds)
        return True

    def _wait_for_work(self) -> bool:
        """False once closed and drained."""
        with self._changed:
            while self._close_at is None and not self._planner.num_seated:
                self._changed.wait()
            return self._close_at is None or (self._planner.num_seated > 0 and self._clock() < self._close_at)

    def _sweep(self, cache: StepCache) -> None:
        """Free the slots of the cancelled; those that wait for one leave by themselves."""
        with self._changed:
            cancelled = [slot for slot in self._planner.seated if slot.ticket.cancelled]
            for slot in cancelled:
                self._planner.leave(slot)
                cache.forget(slot.lane)
            if cancelled:
                self._seat()
            elif any(slot.ticket.cancelled for slot in self._planner.waiting):
                self._changed.notify_all()
        self._answer(
            [Outcome(slot, Cancelled(f"the request was cancelled at step {slot.step}")) for slot in cancelled]
        )

    def _settle(self, slots: Sequence[Slot], taken: StepTaken) -> None:
        """Free the slots of requests that have ended, before anybody hears of it."""
        ended = [outcome.slot for outcome in taken.outcomes]
        with self._changed:
            if 0 < taken.largest < len(slots):
                self._planner.shrink(taken.largest, CAUTIOUS_STEPS)
            for slot in ended:
                self._planner.leave(slot)
            if ended:
                self._seat()
        for slot in slots:
            if slot not in ended:
                _report(slot, Progress("running", 0, slot.step, slot.num_steps))
                _preview(slot)

    def _abandon(self, reason: PackshotError) -> None:
        """Answer everything that has a place."""
        with self._changed:
            slots = self._planner.seated
            for slot in slots:
                self._planner.leave(slot)
            self._changed.notify_all()
        self._answer([Outcome(slot, reason) for slot in slots])

    def _answer(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            slot, result = outcome.slot, outcome.result
            kind, seconds = _kind(result), self._clock() - slot.arrived
            _report(slot, Progress("ended", 0, slot.step, slot.num_steps))
            tell(lambda k=kind, s=seconds, p=slot.priority: self._observer.ended(k, s, p))
            try:
                slot.on_done(result)
            except BaseException:  # whatever a caller's code raises, the next request gets its answer
                logger.exception("request %r: its answer could not be delivered", slot.request_id)

    def _tell_step(self, lane: tuple[int, int], slots: int, taken: StepTaken, seconds: float) -> None:
        with self._changed:
            in_use, waiting = self._planner.num_seated, len(self._planner.waiting)
        report = StepReport(lane, slots, taken.rows, taken.padding_rows, seconds, in_use, waiting)
        tell(lambda: self._observer.stepped(report))


def _report(slot: Slot, progress: Progress) -> None:
    tell(lambda: slot.ticket.report(progress))


def _preview(slot: Slot) -> None:
    interval = slot.ticket.preview_interval
    if interval and slot.step % interval == 0:
        latents = slot.state[0] * slot.schedule.input_scale[slot.step]
        tell(lambda: slot.ticket.preview(slot.step, latents))


def _kind(result: object) -> OutcomeKind:
    if isinstance(result, Cancelled):
        return "cancelled"
    if isinstance(result, Unavailable):
        return "unavailable"
    return "failed" if isinstance(result, Exception) else "done"
