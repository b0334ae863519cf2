"""Who gets a slot and who takes the next step, decided without threads or clocks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from packshot.errors import InvalidArgument
from packshot_serving.engine.planner import StepPlanner
from packshot_serving.engine.policy import Policy


@dataclass(eq=False)
class Job:
    name: str
    num_steps: int = 25
    arrived: float = 0.0
    priority: int = 1
    lane: int = 0
    remaining: int = 0

    def __post_init__(self):
        self.remaining = self.num_steps


def arrive(planner, *jobs):
    for job in jobs:
        planner.arrive(job)
    return names(planner.seat())


def names(jobs):
    return "".join(job.name for job in jobs)


def test_priority_comes_before_arrival():
    planner = StepPlanner(Policy(max_slots=1))
    running = Job("r")
    arrive(planner, running, *(Job("c", priority=2) for _ in range(30)), Job("i"), Job("j"))
    assert names(planner.queue()) == "ij" + 30 * "c"
    planner.leave(running)
    assert names(planner.seat()) == "i"


def test_whoever_waits_longest_is_passed_by_so_often_and_no_oftener():
    planner = StepPlanner(Policy(max_slots=1, max_overtakes=3))
    seated = Job("r")
    arrive(planner, seated, Job("a", priority=2), Job("b", priority=2))
    order = ""
    for _ in range(9):
        planner.arrive(Job("i"))
        planner.leave(seated)
        (seated,) = planner.seat()
        order += seated.name
    assert order == "iiiaiiibi"


def test_a_catalogue_leaves_slots_free_for_interactive_requests():
    planner = StepPlanner(Policy(max_slots=4, reserved_slots=2))
    catalogue = [Job(name, priority=2) for name in "abcd"]
    assert arrive(planner, *catalogue) == "ab"
    assert arrive(planner, Job("i"), Job("j")) == "ij"
    assert arrive(planner, Job("k")) == ""
    planner.leave(catalogue[0])
    assert names(planner.seat()) == "k"
    planner.leave(catalogue[1])
    assert names(planner.seat()) == "", "three interactive ones are in work"


def test_slots_that_a_catalogue_may_not_have_are_no_overtaking():
    planner = StepPlanner(Policy(max_slots=2, reserved_slots=1, max_overtakes=3))
    seated = Job("r", priority=2)
    arrive(planner, seated, Job("c", priority=2))
    for _ in range(10):
        job = Job("i")
        assert arrive(planner, job) == "i"
        planner.leave(job)
    planner.leave(seated)
    assert names(planner.seat()) == "c"


def test_a_lane_too_many_waits_until_another_has_ended():
    planner = StepPlanner(Policy(max_slots=4, max_lanes=2))
    a, b = Job("a", lane=1), Job("b", lane=2)
    assert arrive(planner, a, b, Job("c", lane=3), Job("d", lane=2)) == "abd"
    planner.leave(b)
    assert names(planner.seat()) == ""
    planner.leave(a)
    assert names(planner.seat()) == "c"


def test_a_lane_too_many_is_not_passed_by_forever():
    planner = StepPlanner(Policy(max_slots=2, max_lanes=1, max_overtakes=2))
    seated = Job("r")
    arrive(planner, seated, Job("x", lane=1))
    order = ""
    for _ in range(12):
        planner.arrive(Job("a"))
        order += names(planner.seat())
        oldest = planner.seated[0]
        planner.leave(oldest)
        order += names(planner.seat())
    assert order.startswith("aax")


def test_who_waits_longest_of_its_priority_is_not_passed_by_forever_behind_another():
    planner = StepPlanner(Policy(max_slots=3, reserved_slots=1, max_lanes=2, max_overtakes=3))
    arrive(planner, Job("r", lane=1), Job("s", lane=2), Job("t", lane=1))
    arrive(planner, Job("c", priority=2), Job("x", lane=3))
    order = ""
    for number in range(12):
        planner.arrive(Job("i", lane=1 + number % 2))
        planner.leave(planner.seated[number % len(planner.seated)])
        order += names(planner.seat())
    assert "x" in order
    assert order.index("x") == 3, "the catalogue's request may not sit, so it does not count"


def test_lanes_take_turns():
    planner = StepPlanner(Policy(max_slots=4))
    arrive(planner, Job("a", lane=1), Job("b", lane=2), Job("c", lane=1), Job("d", lane=3))
    assert [names(planner.plan(0.0)) for _ in range(6)] == ["ac", "b", "d"] * 2


def test_without_patience_the_first_to_come_step_first():
    planner = StepPlanner(Policy(max_slots=4, max_batch=2, patience=0, late_patience=0))
    arrive(planner, Job("a", 50, 0.0), Job("b", 50, 0.1), Job("c", 1, 0.2))
    assert names(planner.plan(0.2)) == "ab"


def test_little_remaining_work_passes_what_came_shortly_before():
    policy = Policy(max_slots=4, max_batch=1, patience=2, late_patience=0, step_s=1.0, full_step_s=1.0)
    planner = StepPlanner(policy)
    arrive(planner, Job("a", 20, 0.0), Job("b", 2, 30.0), Job("c", 2, 37.0))
    assert names(planner.plan(37.0)) == "b", "30 + 2*2 is less than 0 + 2*20"
    planner.leave(planner.seated[1])
    assert names(planner.plan(37.0)) == "a", "37 + 2*2 is more: nobody is passed by for longer"


def test_who_can_no_longer_be_in_time_lets_those_pass_who_can():
    policy = Policy(
        max_slots=4, max_batch=1, patience=0, late_patience=4, max_slowdown=4, step_s=1.0, full_step_s=1.0
    )
    planner = StepPlanner(policy)
    arrive(planner, Job("a", 10, 0.0), Job("b", 10, 20.0))
    assert names(planner.plan(30.0)) == "a"
    assert names(planner.plan(31.0)) == "b", "31 + 10 is after 0 + 4*10"
    arrive(planner, Job("c", 10, 40.5))
    planner.leave(planner.seated[1])
    assert names(planner.plan(41.0)) == "a", "but not for those who come after 0 + 4*10"


def test_catalogue_requests_step_behind_interactive_ones_but_not_forever():
    policy = Policy(max_slots=4, max_batch=1, late_patience=0, catalogue_handicap_s=30, step_s=0.1)
    planner = StepPlanner(policy)
    catalogue, soon, later = Job("c", priority=2), Job("i", arrived=29.0), Job("j", arrived=31.0)
    arrive(planner, catalogue, soon)
    assert names(planner.plan(29.0)) == "i"
    planner.leave(soon)
    arrive(planner, later)
    catalogue.remaining = later.remaining = 1
    assert names(planner.plan(31.0)) == "c", "it came more than 30 s before"


def test_a_crowd_steps_in_larger_batches():
    planner = StepPlanner(Policy(max_slots=20, max_batch=4, crowded_share=0.5))
    arrive(planner, *(Job("a", arrived=float(i)) for i in range(7)))
    assert len(planner.plan(0.0)) == 4
    arrive(planner, *(Job("a", arrived=float(i)) for i in range(13)))
    assert len(planner.plan(0.0)) == 10


def test_a_batch_that_was_too_large_comes_back_slowly():
    planner = StepPlanner(Policy(max_slots=8))
    arrive(planner, *(Job(str(i)) for i in range(8)))
    planner.shrink(0, 2, 2)
    assert [len(planner.plan(0.0)) for _ in range(6)] == [2, 2, 4, 8, 8, 8]


def test_a_batch_that_was_too_large_makes_no_other_lane_careful():
    planner = StepPlanner(Policy(max_slots=16))
    arrive(planner, *(Job(str(i), lane=1) for i in range(8)), *(Job(str(i), lane=2) for i in range(4)))
    planner.shrink(1, 2, 2)
    assert [len(planner.plan(0.0)) for _ in range(8)] == [2, 4, 2, 4, 4, 4, 8, 4]


def test_a_lane_that_can_have_few_together_has_no_more():
    taken = []
    for lane in ("small", "large", "too large"):
        planner = StepPlanner(Policy(max_slots=8), {"large": 2, "too large": 0}.get)
        arrive(planner, *(Job(str(i), lane=lane) for i in range(8)))
        taken.append(len(planner.plan(0.0)))
    assert taken == [8, 2, 1]


def test_a_job_that_nobody_knows_may_leave():
    planner = StepPlanner(Policy(max_slots=2))
    arrive(planner, Job("a"))
    planner.leave(Job("unknown"))
    planner.leave(Job("unknown", lane=7))
    assert planner.num_seated == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_slots", 0), ("max_queue_size", 0), ("max_batch", 0), ("max_lanes", 0), ("max_overtakes", 0), ("max_slots", True),
        ("crowded_share", 1.1), ("patience", -1.0), ("step_s", float("nan")), ("max_slowdown", float("inf")),
    ],
)  # fmt: skip
def test_a_policy_out_of_range_is_refused(field, value):
    with pytest.raises(InvalidArgument, match=field):
        Policy(**{field: value})
