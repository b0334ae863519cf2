"""Step-level continuous batching: the engine's own planner in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from packshot_serving.engine.planner import StepPlanner
from packshot_serving.engine.policy import Policy
from packshot_serving.simulator.served import Served
from packshot_serving.simulator.traffic import Arrival

StepTime = Callable[[int], float]


class SimulatedJob:
    """What stands in for a :class:`~packshot_serving.engine.job.Job`."""

    __slots__ = ("arrival", "arrived", "lane", "num_steps", "priority", "remaining", "seated_s", "started_s")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.arrived = arrival.time_s
        self.lane = arrival.lane
        self.priority = arrival.priority
        self.num_steps = self.remaining = arrival.num_steps
        self.seated_s = self.started_s = -1.0


def serve_continuously(
    arrivals: Sequence[Arrival],
    policy: Policy,
    step_time_s: StepTime,
    on_step: Callable[[list[SimulatedJob]], None] | None = None,
) -> list[Served]:
    """Serve every arrival, and say when.

    Args:
        arrivals: in order of time.
        policy: of the planner.
        step_time_s: seconds of a step of n slots.
        on_step: called with the jobs of each step, before they take it.
    """
    planner: StepPlanner[SimulatedJob] = StepPlanner(policy)
    served: list[Served] = []
    now, upcoming = 0.0, iter([SimulatedJob(arrival) for arrival in arrivals])
    following = next(upcoming, None)
    while following is not None or planner.num_seated:
        if not planner.num_seated and following is not None:
            now = max(now, following.arrived)  # idle until somebody comes
        while following is not None and following.arrived <= now:
            planner.arrive(following)
            following = next(upcoming, None)
        for job in planner.seat():
            job.seated_s = now
        batch = planner.plan(now)
        if on_step is not None:
            on_step(batch)
        for job in batch:
            if job.started_s < 0:
                job.started_s = now
        now += step_time_s(len(batch))
        for job in batch:
            job.remaining -= 1
            if not job.remaining:
                planner.leave(job)
                served.append(Served(job.arrival, job.seated_s, job.started_s, now))
    return served
