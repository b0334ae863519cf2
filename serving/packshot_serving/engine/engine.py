"""The engine: a thread that takes the steps which the planner decides on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import TracebackType

import numpy as np

from packshot.errors import Cancelled, InternalError, PackshotError, Unavailable
from packshot.family import Family
from packshot_serving.engine.batch_step import StepCache, StepTaken, advance
from packshot_serving.engine.job import CLOSING, Job, OnDone
from packshot_serving.engine.observer import Observer, OutcomeKind, StepReport, tell
from packshot_serving.engine.planner import StepPlanner
from packshot_serving.engine.policy import Policy
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import Runner, most_slots
from packshot_serving.engine.runner_check import RunnerCheck
from packshot_serving.engine.slot import Slot
from packshot_serving.engine.ticket import Ticket

logger = logging.getLogger(__name__)

#: Steps for which batches stay small after a large one failed.
CAUTIOUS_STEPS = 256

#: How a job ends: latents, float32 [C, h, w], or what stopped it.
Answer = tuple[Job, np.ndarray | PackshotError]


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
        on_death: called by the engine's thread, should it die, when everybody has been answered.
        clock: seconds, monotonic.

    Raises:
        InvalidArgument: ``max_slots`` is not positive.
    """

    def __init__(
        self,
        runner: Runner,
        family: Family,
        max_slots: int = 4,
        *,
        policy: Policy | None = None,
        observer: Observer | None = None,
        on_death: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.policy = policy or Policy(max_slots)
        self._runner = runner
        self._observer = observer or Observer()
        self._on_death = on_death
        self._clock = clock
        self._preparation = Preparation(runner, family)
        self._runner_check = RunnerCheck(runner, family)
        # One lock for all that follows; the engine's thread waits on it.
        self._changed = threading.Condition()
        self._planner: StepPlanner[Job] = StepPlanner(self.policy, cache(partial(most_slots, runner)))
        self._refused: list[int] = []  # their priorities, until the observer hears of them
        self._somebody_left = False  # since the free slots were last given away
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
    def num_waiting(self) -> int:
        """Requests that wait for a slot."""
        with self._changed:
            return len(self._planner.waiting)

    def submit(self, request: DenoiseRequest, on_done: OnDone, *, ticket: Ticket | None = None) -> Ticket:
        """Hand a request over; it gets a slot or waits for one.

        Args:
            request: its arrays may be reused once this returns.
            on_done: called exactly once if this returns, never if it raises; by the engine's
                thread, so it must not block. Gets the latents, float32 [C, h, w], or the
                PackshotError that stopped the request.
            ticket: told how far the request is; a new one if none is given.

        Returns:
            The ticket.

        Raises:
            InvalidArgument: see :meth:`DenoiseRequest.check`; or the scheduler cannot take so many steps, or
                the checkpoint's options rule it out.
            Unavailable: too many wait already, the engine is closed, or its thread has died.
            Cancelled: the ticket was cancelled before.
        """
        arrived, ticket = self._clock(), ticket or Ticket()
        schedule = self._preparation.check(request)
        job = Job(request.copied(), schedule, on_done, arrived, ticket)
        with self._changed:
            self._require_open()
            if ticket.cancelled:
                raise Cancelled("the request was cancelled before it came to the denoiser")
            self._planner.arrive(job)
            self._seat()
            waiting = [each for each in self._planner.waiting if each.priority == job.priority]
            if job in waiting and len(waiting) > self.policy.max_queue_size:
                self._leave(job)
                self._seat()  # those behind it are further in front again
                self._refused.append(job.priority)
                raise Unavailable(
                    f"the denoiser's queue is full: {self.policy.max_queue_size} requests are waiting"
                )
        return ticket

    def close(self, drain_s: float = 0.0) -> None:
        """Stop; returns when the thread has ended. A second time does nothing.

        Requests that wait for a slot get Unavailable after at most one step. Those that have one
        are served for at most ``drain_s``, then answered with Unavailable, too.
        """
        with self._changed:
            if self._close_at is None:
                self._close_at = self._clock() + drain_s
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def _everybody(self) -> list[Job]:
        return [*self._planner.seated, *self._planner.waiting]

    def _require_open(self) -> None:
        if self._failure is not None:
            raise Unavailable("the denoising engine has died; its log says why")
        if self._close_at is not None:
            raise Unavailable(CLOSING)

    def _seat(self) -> None:
        """Give free slots away, and tell everybody where they are now; the lock is held."""
        self._somebody_left = False
        for job in self._planner.seat():
            job.report("running")
        for position, job in enumerate(self._planner.queue(), start=1):
            job.report("waiting", position)
        self._changed.notify_all()

    def _run(self) -> None:
        """The engine's thread."""
        cache = StepCache()
        try:
            while self._take_turn(cache):
                self._runner_check.prove()
            self._abandon(Unavailable(CLOSING))
        except BaseException as error:  # nobody else can answer the requests then
            logger.critical("the denoising engine has died", exc_info=error)
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            self._abandon(InternalError("the denoising engine has died; the server's log says why"))
            self._on_death()

    def _take_turn(self, cache: StepCache) -> bool:
        """Wait for work and step one lane; False once closed. Its locals hold no request afterwards."""
        if not self._wait_for_work():
            return False
        with self._changed:
            jobs = self._planner.plan(self._clock())
        begun, computed = self._begin(jobs), 0
        if begun:
            started = self._clock()
            taken, count = advance(self._runner, list(begun), cache), len(begun)
            computed = taken.largest
            rows = taken.rows, taken.control_rows, taken.padding_rows
            report = StepReport(jobs[0].lane, count, *rows, self._clock() - started)
            tell(lambda: self._observer.stepped(report))
            self._settle(begun, taken)
        if jobs:
            self._runner_check.tried(stepped=computed > 0)
        self._sweep(cache)
        self._tell_standing()
        return True

    def _wait_for_work(self) -> bool:
        """False once closed and drained."""
        with self._changed:
            while self._close_at is None and not self._planner.num_seated:
                self._changed.wait()
            return self._close_at is None or (self._planner.num_seated > 0 and self._clock() < self._close_at)

    def _sweep(self, cache: StepCache) -> None:
        """Let those go who are not wanted any more, or have waited for too long; then seat the next."""
        with self._changed:
            now, closing = self._clock(), self._close_at is not None
            ends = [(job, job.given_up()) for job in self._planner.seated]
            ends += [
                (job, job.given_up() or job.waited_in_vain(now, closing)) for job in self._planner.waiting
            ]
            answers = [(job, reason) for job, reason in ends if reason]
            for job, _ in answers:
                self._leave(job)
                cache.forget(job.lane)
            if self._somebody_left:
                self._seat()
        self._answer(answers)

    def _begin(self, jobs: Sequence[Job]) -> dict[Slot, Job]:
        """The slots of the jobs that step, those of newcomers made now; who cannot begin is answered."""
        begun: dict[Slot, Job] = {}
        failed: list[Answer] = []
        for job in jobs:
            if job.slot is None:
                wait_s, priority = self._clock() - job.arrived, job.priority
                tell(lambda wait_s=wait_s, priority=priority: self._observer.started(wait_s, priority))
                try:
                    job.slot = self._preparation.begin(job.request, job.schedule)
                except PackshotError as error:
                    failed.append((job, error))
                    continue
            begun[job.slot] = job
        self._release([job for job, _ in failed])
        self._answer(failed)
        return begun

    def _settle(self, begun: dict[Slot, Job], taken: StepTaken) -> None:
        """Free the slots of requests that have ended before anybody hears of it, then tell everybody."""
        lane, count = next(iter(begun)).lane, len(begun)
        answers = [(begun.pop(outcome.slot), outcome.result) for outcome in taken.outcomes]
        # Where a request has failed, it may be all that was wrong with the batch.
        too_many = taken.largest < count and not any(isinstance(result, Exception) for _, result in answers)
        with self._changed:
            if too_many:
                self._planner.shrink(lane, taken.largest, CAUTIOUS_STEPS)
        self._release([job for job, _ in answers])
        for job in begun.values():
            job.report("running")
            job.show_preview()
        self._answer(answers)

    def _release(self, jobs: Sequence[Job]) -> None:
        with self._changed:
            for job in jobs:
                self._leave(job)

    def _leave(self, job: Job) -> None:
        """A job has ended or waits no more; the lock is held."""
        self._planner.leave(job)
        self._somebody_left = True

    def _abandon(self, reason: PackshotError) -> None:
        """Answer everything that is here."""
        with self._changed:
            jobs = self._everybody
            for job in jobs:
                self._leave(job)
        self._answer([(job, reason) for job in jobs])

    def _answer(self, answers: Sequence[Answer]) -> None:
        for job, result in answers:
            kind, seconds = _kind(result), self._clock() - job.arrived
            job.report("ended")
            tell(lambda k=kind, s=seconds, p=job.priority: self._observer.ended(k, s, p))
            try:
                job.on_done(result)
            except BaseException:  # whatever a caller's code raises, the next request gets its answer
                logger.exception("request %r: its answer could not be delivered", job.request.request_id)

    def _tell_standing(self) -> None:
        with self._changed:
            in_use, waiting = self._planner.num_seated, len(self._planner.waiting)
            refused, self._refused = self._refused, []
        for priority in refused:
            tell(lambda priority=priority: self._observer.ended("unavailable", 0.0, priority))
        tell(lambda: self._observer.stands(in_use, waiting))


def _kind(result: object) -> OutcomeKind:
    if isinstance(result, Cancelled):
        return "cancelled"
    if isinstance(result, Unavailable):
        return "unavailable"
    return "failed" if isinstance(result, Exception) else "done"
