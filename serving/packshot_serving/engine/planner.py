"""Every scheduling decision of the engine, without threads, clocks or arrays.

The engine and the simulator run this same code: what the simulator says about a policy is said
about the server.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

from packshot.parameters import INTERACTIVE
from packshot_serving.engine.policy import Policy


class Job(Protocol):
    """What a decision may depend on. Jobs are compared by identity."""

    @property
    def lane(self) -> Hashable:
        """Only jobs of one lane share a step."""
        ...

    @property
    def priority(self) -> int:
        """1 is served before 2."""
        ...

    @property
    def arrived(self) -> float:
        """When it came, in seconds."""
        ...

    @property
    def num_steps(self) -> int:
        """Steps that it needs in all."""
        ...

    @property
    def remaining(self) -> int:
        """Steps that it still needs."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)
_rank = attrgetter("priority")


@dataclass
class _Caution:
    """After a batch was too large: how many step together, and for how many steps more."""

    num_slots: int
    num_steps: int


class StepPlanner(Generic[AnyJob]):
    """Seats waiting jobs, and says before each step which of the seated ones take it.

    Not thread-safe. A turn is ``seat``, ``plan``, the step itself, and ``leave`` for those that
    have ended; ``arrive`` and ``leave`` may come at any time between two calls.

    - **Admission** is by priority, then by arrival. Of each priority, whoever has waited longest is
      passed by at most ``max_overtakes`` times, not counting slots that it may not have.
    - **Lanes** take turns, one step each.
    - **Within a lane** all step if they fit; else those with the least
      ``arrived + patience * remaining * step_s``, where patience is greater for the late. A job
      is paused only for such as came within that time after it, so nobody starves.
    """

    def __init__(self, policy: Policy, most_slots: Callable[[Any], int | None] = lambda lane: None) -> None:
        self.policy = policy
        self._most_slots = most_slots  # of a lane, that can step together at all
        self._waiting: list[AnyJob] = []  # in order of arrival
        self._overtakes: dict[int, int] = {}  # of the first of each priority in it
        self._lanes: dict[Hashable, list[AnyJob]] = {}  # the first one steps next
        self._seated = 0
        self._cautions: dict[Hashable, _Caution] = {}  # of lanes

    @property
    def seated(self) -> list[AnyJob]:
        """Jobs that have a slot."""
        return [job for lane in self._lanes.values() for job in lane]

    @property
    def num_seated(self) -> int:
        """How many slots are taken."""
        return self._seated

    @property
    def waiting(self) -> Sequence[AnyJob]:
        """Jobs without a slot, in order of arrival."""
        return self._waiting

    def arrive(self, job: AnyJob) -> None:
        """A job wants a slot."""
        self._waiting.append(job)

    def seat(self) -> list[AnyJob]:
        """Give the free slots away; who got one."""
        admitted: list[AnyJob] = []
        while self._waiting and self._seated < self.policy.max_slots:
            job = self._next_admission()
            if job is None:
                break
            for first in self._firsts(before=job):
                if self._may_sit(first):
                    self._overtakes[first.priority] = self._overtakes.get(first.priority, 0) + 1
            self._stop_waiting(job)
            self._lanes.setdefault(job.lane, []).append(job)
            self._seated += 1
            admitted.append(job)
        return admitted

    def plan(self, now: float) -> list[AnyJob]:
        """The jobs that take the next step together; none if no slot is taken. Ends a lane's turn."""
        if not self._lanes:
            return []
        lane = next(iter(self._lanes))
        self._lanes[lane] = jobs = self._lanes.pop(lane)  # to the end of the line
        limit = self._batch_limit(lane, len(jobs))
        most = self._most_slots(lane)
        limit = limit if most is None else max(1, min(limit, most))
        if len(jobs) <= limit:
            return list(jobs)
        chosen = set(sorted(jobs, key=lambda job: self._urgency(job, now))[:limit])
        # In the order in which they joined, so that the same jobs make the same batch again.
        return [job for job in jobs if job in chosen]

    def leave(self, job: AnyJob) -> None:
        """A job has ended, waits no more, or was never known."""
        if job in self._waiting:
            self._stop_waiting(job)
            return
        jobs = self._lanes.get(job.lane)
        if jobs is None or job not in jobs:
            return
        jobs.remove(job)
        self._seated -= 1
        if not jobs:
            del self._lanes[job.lane]

    def queue(self) -> list[AnyJob]:
        """Those who wait, in the order in which they are going to be seated as things stand."""
        return sorted(self._waiting, key=_rank)

    def shrink(self, lane: Hashable, num_slots: int, num_steps: int) -> None:
        """More of a lane than ``num_slots`` were too many: stay at that for ``num_steps``, then double."""
        self._cautions[lane] = _Caution(max(1, num_slots), num_steps)

    def _batch_limit(self, lane: Hashable, num_slots: int) -> int:
        limit, caution = self.policy.batch_limit(num_slots), self._cautions.get(lane)
        if caution is None:
            return limit
        caution.num_steps -= 1
        if caution.num_steps < 0:
            caution.num_slots *= 2
            if caution.num_slots >= self.policy.max_slots:
                del self._cautions[lane]
        return min(limit, caution.num_slots)

    def _next_admission(self) -> AnyJob | None:
        for first in self._firsts():
            if self._overtakes.get(first.priority, 0) >= self.policy.max_overtakes and self._may_sit(first):
                # Nobody else until it is its turn; lanes end, because nobody new joins them.
                return first if self._lane_is_open(first) else None
        admissible = [job for job in self._waiting if self._may_sit(job) and self._lane_is_open(job)]
        return min(admissible, key=_rank, default=None)  # the first of equals came first

    def _firsts(self, before: AnyJob | None = None) -> list[AnyJob]:
        """Of each priority, whoever has waited longest; of those who have waited longer than ``before``."""
        firsts: dict[int, AnyJob] = {}
        for job in self._waiting:
            if job is before:
                break
            firsts.setdefault(job.priority, job)
        return list(firsts.values())

    def _stop_waiting(self, job: AnyJob) -> None:
        if job in self._firsts():
            self._overtakes.pop(job.priority, None)
        self._waiting.remove(job)

    def _may_sit(self, job: AnyJob) -> bool:
        """Whether there is a slot for it, given that one is free."""
        free = self.policy.max_slots - self._seated
        return job.priority <= INTERACTIVE or free > self.policy.reserved_slots

    def _lane_is_open(self, job: AnyJob) -> bool:
        return job.lane in self._lanes or len(self._lanes) < self.policy.max_lanes

    def _urgency(self, job: AnyJob, now: float) -> float:
        policy, patience = self.policy, self.policy.patience
        earliest_end = now + job.remaining * policy.full_step_s
        if earliest_end > job.arrived + policy.max_slowdown * job.num_steps * policy.step_s:
            patience += policy.late_patience
        handicap_s = 0.0 if job.priority <= INTERACTIVE else policy.catalogue_handicap_s
        return job.arrived + handicap_s + patience * job.remaining * policy.step_s
