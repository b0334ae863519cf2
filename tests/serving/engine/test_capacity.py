"""How many slots pay, from measured step times."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from packshot.errors import InvalidArgument
from packshot.family import Canvas
from packshot_serving.engine.capacity import (
    StepTimes,
    choose_capacity,
    choose_policy,
    measure_step_times,
)

#: A small machine: two at a time are quick enough, eight the fastest.
SMALL = StepTimes((1, 2, 4, 8, 16), (0.057, 0.101, 0.189, 0.372, 0.774))


class SlowRunner:
    """Moves a clock by ``seconds(slots)`` in each step."""

    def __init__(self, runner, seconds):
        self._runner, self._seconds = runner, seconds
        self.now = 0.0
        self.sizes = []

    def embed_control(self, control_image):
        return self._runner.embed_control(control_image)

    def step(self, batch):
        self.sizes.append(batch.num_slots)
        self.side = 8 * batch.state.shape[-1]
        self.now += self._seconds(batch.num_slots)
        return batch.state


def test_steps_are_timed_at_each_size_after_a_warm_up(family, runner, caplog):
    slow = SlowRunner(runner, lambda slots: 0.01 + 0.002 * slots)
    with caplog.at_level(logging.INFO):
        times = measure_step_times(slow, family, (1, 2, 4), repeats=2, clock=lambda: slow.now)
    assert times.batch_sizes == (1, 2, 4)
    assert times.seconds == pytest.approx((0.012, 0.014, 0.018))
    assert slow.sizes == [1, 1, 2, 2, 4, 4, 1, 2, 4]
    assert "a step of 4 slots takes 0.0180 s" in caplog.text


def test_the_family_s_own_scheduler_is_what_steps(family, runner):
    """Others may be ruled out by its options."""
    scheduler = {**family.scheduler, "solver_order": 3}
    own = replace(family, scheduler=scheduler, generation_config={"scheduler": "ddim"})
    assert measure_step_times(runner, own, (1,)).batch_sizes == (1,)


def test_on_an_h100_like_curve_the_measurement_finds_what_pays(family, runner):
    gpu = SlowRunner(runner, lambda slots: 0.010 + 0.00378 * slots)
    times = measure_step_times(gpu, family, clock=lambda: gpu.now)
    assert gpu.now < 1.5
    policy = choose_policy(times)
    assert (policy.max_batch, policy.max_slots, policy.crowded_share) == (11, 64, 0.8)
    assert policy.step_s == pytest.approx(0.01378)
    assert policy.full_step_s == pytest.approx(0.010 + 0.00378 * 11)


@pytest.mark.parametrize("slot_s", [0.002, 0.080, 0.5, 16.0])
def test_where_a_batch_of_n_takes_n_times_as_long_one_slot_steps_at_a_time(family, runner, slot_s):
    cpu = SlowRunner(runner, lambda slots: slot_s * slots)
    policy = choose_policy(measure_step_times(cpu, family, clock=lambda: cpu.now))
    assert (policy.max_batch, policy.max_slots, policy.crowded_share) == (1, 6, 0.0)
    assert policy.step_s == policy.full_step_s == pytest.approx(slot_s)
    assert max(cpu.sizes) <= 4, "two sizes that bring nothing are enough"
    assert cpu.now <= max(1.5, slot_s), "the stated bound"


def test_one_size_with_bad_luck_does_not_hide_what_larger_ones_bring(family, runner):
    unlucky = {1: 0.02, 2: 0.042, 4: 0.07, 8: 0.13, 16: 0.27}
    machine = SlowRunner(runner, lambda slots: unlucky[slots])
    times = measure_step_times(machine, family, clock=lambda: machine.now)
    assert times.batch_sizes == (1, 2, 4, 8, 16)
    assert choose_policy(times).crowded_share == 0.5


@pytest.mark.parametrize("begins", [0.0, 0.2])
def test_half_a_second_of_other_work_changes_nothing(family, runner, begins):
    quiet = {1: 0.0709, 2: 0.1294, 4: 0.2515}
    machine = SlowRunner(
        runner, lambda slots: quiet[slots] * (2 if begins <= machine.now < begins + 0.55 else 1)
    )
    times = measure_step_times(machine, family, tuple(quiet), clock=lambda: machine.now)
    assert times.batch_sizes[:2] == (1, 2)
    assert times.seconds[:2] == pytest.approx((0.0709, 0.1294))
    assert machine.now < 1.5


@pytest.mark.parametrize(("seconds_per_pixel", "side"), [(1e-7, 512), (1e-6, 256)])
def test_only_a_machine_that_has_the_time_is_measured_with_large_pictures(
    family, runner, seconds_per_pixel, side
):
    wide = replace(family, canvas=Canvas(multiple=8, min_side=16, max_side=1024))
    slow = SlowRunner(runner, lambda slots: seconds_per_pixel * slow.side**2 * slots)
    measure_step_times(slow, wide, clock=lambda: slow.now)
    assert slow.side == side
    assert slow.now < 1.5


def test_the_budget_ends_the_series_but_a_single_slot_is_always_timed(family, runner):
    slow = SlowRunner(runner, lambda slots: 16.0 * slots)
    assert measure_step_times(slow, family, budget_s=1.0, clock=lambda: slow.now).batch_sizes == (1,)
    assert slow.sizes == [1], "its first step is all the measurement there is"


def test_a_size_that_does_not_fit_the_memory_ends_the_series(family, runner):
    def seconds(slots):
        if slots > 4:
            raise MemoryError
        return 0.01

    slow = SlowRunner(runner, seconds)
    assert measure_step_times(slow, family, clock=lambda: slow.now).batch_sizes == (1, 2, 4)


def test_so_does_one_that_fits_no_more_when_its_turn_comes(family, runner, caplog):
    def seconds(slots):
        if slots == 2 and slow.sizes.count(2) > 2:
            raise MemoryError
        return 0.01

    slow = SlowRunner(runner, seconds)
    times = measure_step_times(slow, family, (1, 2, 4), clock=lambda: slow.now)
    assert (times.batch_sizes, times.seconds) == ((1,), (pytest.approx(0.01),))
    assert "a step of 2 slots failed" in caplog.text


def test_a_runner_that_cannot_take_a_single_step_is_a_failed_start(family, runner):
    def seconds(slots):
        raise MemoryError("too small a machine")

    with pytest.raises(MemoryError, match="too small"):
        measure_step_times(SlowRunner(runner, seconds), family)


@pytest.mark.parametrize(
    ("base_s", "slot_s", "capacity"),
    [
        (0.010, 0.00378, 11),  # an H100: the twelfth would make a step four times as long
        (0.010, 0.0001, 64),  # nearly free: everything measured
        (0.0, 0.080, 1),  # a CPU: a batch of two takes twice as long
        (0.002, 0.080, 1),
        (0.010, 0.040, 2),  # a fixed part of a fifth: two at once are worth it, four are not
    ],
)
def test_capacity_is_what_pays_and_stays_quick(base_s, slot_s, capacity):
    times = StepTimes.affine(base_s, slot_s)
    assert choose_capacity(times) == capacity
    assert choose_policy(times).max_batch == capacity


def test_slots_are_more_than_step_together_and_can_be_overridden():
    cpu, gpu = choose_policy(StepTimes.affine(0.0, 0.08)), choose_policy(StepTimes.affine(0.01, 0.00378))
    assert (cpu.max_slots, cpu.crowded_share) == (6, 0.0)
    assert (gpu.max_slots, gpu.crowded_share) == (64, 0.8)
    small = choose_policy(SMALL)
    assert (small.max_batch, small.max_slots, small.crowded_share) == (2, 16, 0.5)
    assert [small.batch_limit(seated) for seated in (1, 2, 3, 4, 8, 16)] == [1, 2, 2, 2, 4, 8]
    assert choose_policy(StepTimes.affine(0.0, 0.08), max_slots=2).max_slots == 2
    few = choose_policy(StepTimes.affine(0.01, 0.00378), max_slots=4)
    assert (few.max_slots, few.max_batch) == (4, 4)
    assert [policy.reserved_slots for policy in (cpu, gpu, small, few)] == [1, gpu.max_batch, 2, 0]
    many = choose_policy(StepTimes.affine(0.0, 0.08), max_batch=3)
    assert (many.max_slots, many.max_batch, many.full_step_s) == (18, 3, pytest.approx(0.24))


@pytest.mark.parametrize("max_batch", [1, 4])
@pytest.mark.parametrize("times", [SMALL, StepTimes.affine(0.01, 0.00378)])
def test_more_than_an_operator_said_never_step_together(times, max_batch):
    assert choose_policy(times).crowded_share, "left to itself it would let a backlog step in larger batches"
    policy = choose_policy(times, max_batch=max_batch)
    assert policy.batch_limit(policy.max_slots) == policy.batch_limit(64) == max_batch


def test_times_between_and_beyond_the_measured_lie_on_lines():
    times = StepTimes((1, 2, 8), (1.0, 1.5, 4.5))
    assert [times.at(n) for n in (1, 2, 3, 8, 10)] == pytest.approx([1.0, 1.5, 2.0, 4.5, 5.5])
    assert StepTimes((1,), (2.0,)).at(3) == 6.0


def test_a_larger_size_that_was_quicker_by_chance_does_not_make_a_still_larger_one_free():
    times = StepTimes((1, 2), (0.18, 0.15))
    assert times.at(16) == 0.15
    assert choose_policy(times, max_batch=16).full_step_s == 0.15


@pytest.mark.parametrize(
    ("sizes", "seconds"), [((), ()), ((2,), (1.0,)), ((1, 1), (1.0, 1.0)), ((1, 2), (1.0,)), ((1,), (0.0,))]
)
def test_nonsense_is_refused(sizes, seconds):
    with pytest.raises(InvalidArgument):
        StepTimes(sizes, seconds)
