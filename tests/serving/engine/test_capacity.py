"""How many slots pay, from measured step times."""

from __future__ import annotations

import logging

import pytest

from packshot.errors import InvalidArgument
from packshot_serving.engine.capacity import StepTimes, choose_capacity, choose_policy, measure_step_times


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
        self.now += self._seconds(batch.num_slots)
        return batch.state


def test_steps_are_timed_at_each_size_after_a_warm_up(family, runner, caplog):
    slow = SlowRunner(runner, lambda slots: 0.01 + 0.002 * slots)
    with caplog.at_level(logging.INFO):
        times = measure_step_times(slow, family, (1, 2, 4), repeats=2, clock=lambda: slow.now)
    assert times.batch_sizes == (1, 2, 4)
    assert times.seconds == pytest.approx((0.012, 0.014, 0.018))
    assert slow.sizes == [1] * 3 + [2] * 3 + [4] * 3
    assert "a step of 4 slots takes 0.0180 s" in caplog.text


def test_the_budget_ends_the_series_but_a_single_slot_is_always_timed(family, runner):
    slow = SlowRunner(runner, lambda slots: 16.0 * slots)
    assert measure_step_times(slow, family, budget_s=1.0, clock=lambda: slow.now).batch_sizes == (1,)


def test_a_size_that_does_not_fit_the_memory_ends_the_series(family, runner):
    def seconds(slots):
        if slots > 4:
            raise MemoryError
        return 0.01

    slow = SlowRunner(runner, seconds)
    assert measure_step_times(slow, family, clock=lambda: slow.now).batch_sizes == (1, 2, 4)


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
    assert choose_policy(StepTimes.affine(0.0, 0.08), max_slots=2).max_slots == 2


def test_times_between_and_beyond_the_measured_lie_on_lines():
    times = StepTimes((1, 2, 8), (1.0, 1.5, 4.5))
    assert [times.at(n) for n in (1, 2, 3, 8, 10)] == pytest.approx([1.0, 1.5, 2.0, 4.5, 5.5])
    assert StepTimes((1,), (2.0,)).at(3) == 6.0


@pytest.mark.parametrize(
    ("sizes", "seconds"), [((), ()), ((2,), (1.0,)), ((1, 1), (1.0, 1.0)), ((1, 2), (1.0,)), ((1,), (0.0,))]
)
def test_nonsense_is_refused(sizes, seconds):
    with pytest.raises(InvalidArgument):
        StepTimes(sizes, seconds)
