"""The runner that keeps slots on its device: the same pictures, fewer copies. On the host, and on a GPU if any."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from packshot.contract import ARTIFACTS
from packshot.errors import InternalError
from packshot.family import Manifest
from packshot_serving.engine import Engine, Ticket
from packshot_serving.engine.batch_step import StepCache, advance
from packshot_serving.engine.bound_runner import BoundStepRunner
from packshot_serving.engine.capacity import measure_step_times
from packshot_serving.engine.device import HostDevice
from packshot_serving.engine.onnx_program import onnx_programs
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.padding import pad_batch
from packshot_serving.engine.sizes import Sizes
from packshot_serving.engine.slot import build_numbers, row_plan
from tests.families import exported
from tests.serving.engine.real_runners import answers, assert_close, requests_of_every_kind


class CountingDevice(HostDevice):
    """The host, with a count of what it is asked for."""

    def __init__(self):
        self.copied = self.waits = 0

    def copy(self, target, source, nbytes):
        self.copied += nbytes
        super().copy(target, source, nbytes)

    def wait(self):
        self.waits += 1


def on_onnxruntime(graphs, family, device) -> BoundStepRunner:
    return BoundStepRunner(onnx_programs(graphs, device, 1), family, device)


@pytest.fixture(scope="module", params=["tiny-sd2", "tiny-sd15"])
def repository(request):
    return exported(request.param)[1]


@pytest.fixture(scope="module")
def real(repository):
    """The family that was exported, with one ControlNet or two."""
    return Manifest.read(repository).family


@pytest.fixture(scope="module")
def graphs(repository):
    return (repository / ARTIFACTS["step"]).parent


@pytest.fixture(scope="module")
def plain(graphs):
    return OnnxStepRunner(graphs, 1)


def test_whoever_steps_has_the_recordings_of_whoever_measured(graphs, real, monkeypatch):
    """ONNX Runtime keeps them by thread."""
    programs = onnx_programs(graphs, HostDevice(), 1)
    session, threads = programs[0]._session, []
    run = session.run_with_iobinding

    def noted(*arguments):
        threads.append(threading.get_ident())
        run(*arguments)

    monkeypatch.setattr(session, "run_with_iobinding", noted)
    runner = BoundStepRunner(programs, real, HostDevice())
    measure_step_times(runner, real, budget_s=0.0)
    measured = set(threads)
    with ThreadPoolExecutor(1) as another:
        another.submit(measure_step_times, runner, real, budget_s=0.0).result()
    assert len(measured) == 1
    assert set(threads) == measured


@pytest.fixture
def bound(graphs, real, device):
    return on_onnxruntime(graphs, real, device)


def test_the_engine_answers_what_it_answers_with_the_plain_runner(plain, bound, real, new_answer):
    requests = requests_of_every_kind(real)
    found, wanted = (answers(runner, real, requests, new_answer) for runner in (bound, plain))
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs)


def test_a_step_that_fills_its_bucket_is_the_plain_runner_s_bit_for_bit(plain, graphs, real, ask, begin):
    bound = on_onnxruntime(graphs, real, HostDevice())
    ours, theirs = (
        [begin(runner, ask(seed, scheduler="unipc")) for seed in range(2)] for runner in (bound, plain)
    )
    for _ in range(3):
        advance(bound, ours)
        advance(plain, theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.residence.read(), other.state)


def test_what_stays_the_same_is_brought_once_and_each_step_waits_once(graphs, real, ask, begin):
    device = CountingDevice()
    bound, cache = on_onnxruntime(graphs, real, device), StepCache()
    slots = [begin(bound, ask(seed)) for seed in range(3)]
    counts = []
    for _ in range(3):
        before = device.copied, device.waits
        advance(bound, slots, cache)
        counts.append((device.copied - before[0], device.waits - before[1]))
    state, numbers = slots[0].state.nbytes, 8192
    assert counts[0][0] > counts[1][0] == counts[2][0]
    assert counts[1][0] <= 2 * 3 * state + numbers, "the states there and back, and the step's numbers"
    assert [waits for _, waits in counts] == [1, 1, 1]


def test_what_guidance_ends_for_is_not_brought_again_and_takes_no_second_memory(graphs, real, ask, begin):
    """Two buckets, of four rows and of two."""
    device = CountingDevice()
    bound, cache = on_onnxruntime(graphs, real, device), StepCache()
    slots = [begin(bound, ask(seed, num_inference_steps=6, guidance_end=0.5)) for seed in range(2)]
    copied = []
    for _ in range(5):
        before = device.copied
        advance(bound, slots, cache)
        copied.append(device.copied - before)
    buckets = list(bound._buckets.values())
    assert [bucket.sizes.rows for bucket in buckets] == [4, 2]
    assert buckets[0].slots is buckets[1].slots
    texts = 2 * slots[0].residence.tensor("prompt_embeds").nbytes
    assert copied[3] - copied[4] == texts, "the prompts for fewer rows, nothing else"


def test_a_slot_whose_place_was_another_s_is_not_taken_for_it(plain, bound, ask, begin):
    """The bucket is the same, and so is the number of rows, but not who is in it."""
    first, second, third = (begin(bound, ask(seed)) for seed in range(3))
    advance(bound, [first, second])
    advance(bound, [third, second])
    alone = begin(plain, ask(2))
    advance(plain, [alone])
    assert_close(third.residence.read(), alone.state)


def test_a_slot_that_breaks_fails_alone(plain, bound, ask, begin):
    slots = [begin(bound, ask(seed)) for seed in range(3)]
    state = slots[1].residence.read()
    state[0, 0, 0, 0] = np.nan
    slots[1].residence.write(state)
    taken = advance(bound, slots)
    assert [outcome.slot for outcome in taken.outcomes] == [slots[1]]
    assert "NaN or infinite at step 1" in str(taken.outcomes[0].result)
    alone = begin(plain, ask(2))
    advance(plain, [alone])
    assert_close(slots[2].residence.read(), alone.state)


def test_a_batch_too_large_for_the_device_is_taken_in_halves(graphs, real, device, ask, begin):
    class Small(BoundStepRunner):
        def step_resident(self, slots, numbers):
            if len(slots) > 2:
                raise MemoryError
            return super().step_resident(slots, numbers)

    small = Small(onnx_programs(graphs, device, 1), real, device)
    slots = [begin(small, ask(seed)) for seed in range(5)]
    taken = advance(small, slots)
    assert (taken.largest, taken.outcomes) == (2, [])
    assert {slot.step for slot in slots} == {1}


def test_host_memory_that_runs_out_does_not_have_a_step_taken_twice(
    plain, graphs, real, ask, begin, monkeypatch
):
    class Short(HostDevice):
        """Has none for the samples of the first step; the third call is for its numbers."""

        calls = 0

        def staging(self, nbytes):
            self.calls += 1
            if self.calls == 4:
                raise MemoryError
            return super().staging(nbytes)

    monkeypatch.setattr("packshot_serving.engine.bound_runner._STAGING_BYTES", 1)
    bound = on_onnxruntime(graphs, real, Short())
    ours, theirs = ([begin(runner, ask(seed)) for seed in range(2)] for runner in (bound, plain))
    assert not advance(bound, ours).outcomes
    advance(plain, theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine.residence.read(), other.state)


def test_a_request_that_the_device_cannot_take_is_answered(bound, real, ask, new_answer):
    def refuse(tensors):
        raise MemoryError("no memory on the device")

    bound.admit = refuse
    answer = new_answer()
    with Engine(bound, real) as engine:
        engine.submit(ask(0), answer)
        assert isinstance(answer.error(), InternalError)


def test_previews_are_of_the_latents_on_the_device(plain, bound, real, ask, new_answer):
    class Kept(Ticket):
        def __init__(self):
            super().__init__()
            self.previews = []

        preview_interval = 2

        def preview(self, step, latents):
            self.previews.append((step, latents))

    seen = []
    for runner in (plain, bound):
        ticket, answer = Kept(), new_answer()
        with Engine(runner, real) as engine:
            engine.submit(ask(0, num_inference_steps=5), answer, ticket=ticket)
            answer.latents()
        seen.append(ticket.previews)
    assert [step for step, _ in seen[0]] == [step for step, _ in seen[1]] == [2, 4]
    for (_, wanted), (_, found) in zip(*seen, strict=True):
        assert_close(found, wanted)


def test_a_finished_request_leaves_nothing_on_the_device(bound, real, ask, new_answer):
    kept = []
    admit = bound.admit

    def watched(tensors):
        slot = admit(tensors)
        kept.append(weakref.ref(slot))
        return slot

    bound.admit = watched
    with Engine(bound, real) as engine:
        answers = [new_answer() for _ in range(2)]
        for seed, answer in enumerate(answers):
            engine.submit(ask(seed, num_inference_steps=2), answer)
            answer.latents()
        gc.collect()
        assert kept[0]() is None


def test_capacity_is_measured_and_the_slot_stays_as_it_is(bound, real):
    times = measure_step_times(bound, real, (1, 2), side=64, repeats=1)
    assert times.seconds[0] > 0


def test_sizes_are_rungs_that_hold_what_is_there_and_a_controlnet_row(bound, ask, begin):
    slots = [begin(bound, ask(seed, controlnet_conditioning_scale=0.0)) for seed in range(5)]
    numbers = build_numbers(slots, row_plan(slots))
    sizes = Sizes.holding(numbers, slots[0].residence)
    assert (sizes.slots.count, sizes.rows, sizes.control_rows) == (6, 12, 1)
    padded = pad_batch(numbers, sizes.slots.count, sizes.rows, sizes.control_rows)
    assert (padded.num_slots, padded.num_rows, padded.num_control_rows) == (6, 12, 1)
    taken = advance(bound, slots)
    assert (taken.rows, taken.control_rows, taken.padding_rows) == (10, 0, 2)


def test_beyond_the_buckets_that_are_kept_steps_go_on_unrecorded(graphs, real, ask, begin, monkeypatch):
    monkeypatch.setattr("packshot_serving.engine.bound_runner.MAX_BUCKETS", 1)
    bound = on_onnxruntime(graphs, real, HostDevice())
    slots = [begin(bound, ask(seed)) for seed in range(2)]
    advance(bound, slots[:1])
    assert not advance(bound, slots).outcomes
    assert len(bound._buckets) == 1


def test_a_runner_of_another_family_s_size_is_refused_by_onnx_runtime(graphs, real, ask, begin):
    wrong = replace(real, dims={**real.dims, "G": real.dims["G"] + 1})
    bound = on_onnxruntime(graphs, wrong, HostDevice())
    with pytest.raises(InternalError, match="the device could not take the request"):
        begin(bound, ask(0))
