"""Every scheduling decision of the engine, without threads, clocks or arrays.

The engine and the simulator run this same code: what the simulator says about a policy is said
about the server.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
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


class StepPlanner(Generic[AnyJob]):
    """Seats waiting jobs, and says before each step which of the seated ones take it.

    Not thread-safe. A turn is ``seat``, ``plan``, the step itself, and ``leave`` for those that
    have ended; ``arrive`` and ``leave`` may come at any time between two calls.

    - **Admission** is by priority, then by arrival. Whoever has waited longest is passed by at
      most ``max_overtakes`` times, not counting slots that it may not have.
    - **Lanes** take turns, one step each.
    - **Within a lane** all step if they fit; else those with the least
      ``arrived + patience * remaining * step_s``, where patience is greater for the late. A job
      is paused only for such as came within that time after it, so nobody starves.
    """

    def __init__(self, policy: Policy, most_slots: Callable[[Any], int | None] = lambda lane: None) -> None:
        self.policy = policy
        self._most_slots = most_slots  # of a lane, that can step together at all
        self._waiting: list[AnyJob] = []  # in order of arrival
        self._overtakes = 0  # of the first in it
        self._lanes: dict[Hashable, list[AnyJob]] = {}  # the first one steps next
        self._seated = 0
        self._shrunk_to: int | None = None
        self._steps_until_growth = 0

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
            first = self._waiting[0]
            self._overtakes = 0 if job is first else self._overtakes + self._may_sit(first)
            self._waiting.remove(job)
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
        limit = self._batch_limit(len(jobs))
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
            if job is self._waiting[0]:
                self._overtakes = 0
            self._waiting.remove(job)
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

    def shrink(self, num_slots: int, num_steps: int) -> None:
        """More than ``num_slots`` were too many: stay at that for ``num_steps`` steps, then double."""
        self._shrunk_to = max(1, num_slots)
        self._steps_until_growth = num_steps

    def _batch_limit(self, num_slots: int) -> int:
        limit = self.policy.batch_limit(num_slots)
        if self._shrunk_to is None:
            return limit
        self._steps_until_growth -= 1
        if self._steps_until_growth < 0:
            self._shrunk_to *= 2
            if self._shrunk_to >= limit:
                self._shrunk_to = None
                return limit
        return min(limit, self._shrunk_to)

    def _next_admission(self) -> AnyJob | None:
        first = self._waiting[0]
        if self._overtakes >= self.policy.max_overtakes and self._may_sit(first):
            # Nobody else until it is its turn; lanes end, because nobody new joins them.
            return first if self._lane_is_open(first) else None
        admissible = [job for job in self._waiting if self._may_sit(job) and self._lane_is_open(job)]
        return min(admissible, key=_rank, default=None)  # the first of equals came first

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
