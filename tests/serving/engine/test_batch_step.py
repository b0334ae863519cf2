"""One step of a batch: halves after a failure, padding, rows that end with guidance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from packshot_serving.engine.batch_step import StepCache, advance
from packshot_serving.engine.padding import pad_batch
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.slot import build_batch, guided_steps


def begin(runner, family, request):
    """The request's slot."""
    preparation = Preparation(runner, family)
    return preparation.begin(request, preparation.check(request))


@pytest.fixture
def slots(family, runner, make_request):
    return [begin(runner, family, make_request(seed, num_inference_steps=4)) for seed in range(8)]


def test_a_batch_too_large_for_the_memory_is_taken_in_halves(runner, slots):
    def poison(batch):
        if batch.num_slots > 3:
            raise MemoryError

    runner.poison = poison
    taken = advance(runner, slots)
    assert [batch.num_slots for batch in runner.batches] == [8, 4, 2, 2, 4, 2, 2]
    assert (taken.rows, taken.largest, taken.outcomes) == (16, 2, [])
    assert {slot.step for slot in slots} == {1}


def test_one_that_breaks_the_runner_is_found_by_halving(runner, slots):
    text = slots[5].prompt_embeds

    def poison(batch):
        if any(np.array_equal(text, row) for row in batch.encoder_hidden_states):
            raise RuntimeError

    runner.poison = poison
    taken = advance(runner, slots)
    assert [outcome.slot for outcome in taken.outcomes] == [slots[5]]
    assert [slot.step for slot in slots] == [1, 1, 1, 1, 1, 0, 1, 1]


def test_padding_repeats_the_last_slot_and_adds_rows_that_nobody_reads(slots):
    batch = build_batch(slots[:2])
    padded = pad_batch(batch, 4, 8, 6)
    np.testing.assert_array_equal(padded.state, batch.state[[0, 1, 1, 1]])
    assert padded.cond_row.tolist() == [0, 1, 1, 1]
    assert padded.uncond_row.tolist() == [2, 3, 3, 3]
    assert padded.row_slot.tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert padded.control_row.tolist() == [0, 1, 2, 3, 0, 0]
    assert padded.row_residual.tolist() == [1, 2, 3, 4, 1, 1, 1, 1], "no 5 or 6: nobody takes the added ones"


def test_a_batch_without_control_rows_can_be_padded_to_one(slots):
    for slot in slots:
        slot.controlnet_scales[:] = 0
    padded = pad_batch(build_batch(slots[:2]), 2, 4, 1)
    assert padded.control_row.tolist() == [0]
    assert padded.row_residual.tolist() == [0, 0, 0, 0]


@dataclass
class Guidance:
    guidance_scale: float
    guidance_end: float


@pytest.mark.parametrize(
    ("scale", "end", "expected"),
    [(7.5, 1.0, 10), (7.5, 0.3, 3), (7.5, 0.35, 3), (7.5, 0.0, 0), (1.0, 1.0, 0)],
)
def test_guidance_ends_where_a_controlnet_would(scale, end, expected):
    assert guided_steps(Guidance(scale, end), 10) == expected


def test_a_window_that_opens_and_closes_is_noticed_while_the_slots_stay_the_same(runner, slots):
    cache = StepCache()
    slots[0].controlnet_scales[[0, 3]] = 0  # 4 steps: open in the second and third
    slots[1].controlnet_scales[1] = 0
    taken = [advance(runner, slots[:2], cache) for _ in range(4)]
    assert [batch.control_row.tolist() for batch in runner.batches] == [[1, 3], [0, 2], [0, 1, 2, 3], [1, 3]]
    assert [step.control_rows for step in taken] == [2, 2, 4, 2]


def test_past_the_end_of_guidance_a_slot_has_one_row_of_the_prompt_alone(runner, slots):
    cache = StepCache()
    slots[1].guided_steps = 2
    for _ in range(3):
        advance(runner, slots[:2], cache)
    assert [batch.num_rows for batch in runner.batches] == [4, 4, 3]
    assert runner.batches[2].cond_row[1] == runner.batches[2].uncond_row[1] == 1
