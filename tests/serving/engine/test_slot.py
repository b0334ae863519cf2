"""How slots become the inputs of the step graph."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from packshot.contract import GRAPHS
from packshot.parameters import Parameters
from packshot_serving.engine import STATE_SIZE, StepBatch, make_schedule
from packshot_serving.engine.slot import (
    batch_constants,
    build_batch,
    controlnet_scales,
    guided_steps,
    open_slot,
)
from tests.serving.engine.scheduler_runs import SD15, make_reference


@pytest.fixture
def new_slot(family, make_request, runner):
    def new(seed=0, latents=None, image_latents=None, **parameters):
        request = replace(make_request(seed, **parameters), latents=latents, image_latents=image_latents)
        chosen = request.parameters
        schedule = make_schedule(
            chosen.scheduler, family.scheduler, chosen.num_inference_steps, strength=chosen.strength
        )
        return open_slot(request, family, schedule, runner.embed_control(request.control_image))

    return new


def test_a_batch_has_the_tensors_of_the_contract(new_slot):
    tensors = GRAPHS["step"].inputs
    assert {field.name for field in fields(StepBatch)} == {tensor.name for tensor in tensors}
    batch = build_batch([new_slot(0), new_slot(1, guidance_scale=1.0)])
    bound = {"B": 2, "R": 3, "P": 3, "m": STATE_SIZE, "C": 4, "h": 4, "w": 3, "K": 2, "G": 3, "T": 5, "D": 6}
    for tensor in tensors:
        array = getattr(batch, tensor.name)
        assert array.shape == tensor.bind(bound), tensor.name
        assert array.dtype == {"FP32": np.float32, "INT64": np.int64}[tensor.dtype], tensor.name
        assert array.flags.c_contiguous, tensor.name


def test_only_guided_slots_have_a_row_for_the_negative_prompt(new_slot):
    slots = [
        new_slot(0, guidance_scale=1.0),
        new_slot(1, guidance_scale=7.5),
        new_slot(2, guidance_scale=0.0),
        new_slot(3, guidance_scale=1.01),
    ]
    batch = build_batch(slots)
    assert batch.row_slot.tolist() == [0, 1, 2, 3, 1, 3]
    assert batch.cond_row.tolist() == [0, 1, 2, 3]
    assert batch.uncond_row.tolist() == [0, 4, 2, 5]
    assert batch.num_rows == sum(slot.num_rows for slot in slots) == 6
    np.testing.assert_array_equal(batch.encoder_hidden_states[5], slots[3].negative_prompt_embeds)


def test_only_slots_that_a_controlnet_weighs_on_have_control_rows(new_slot):
    slots = [
        new_slot(0, controlnet_conditioning_scale=0.0),
        new_slot(1, guidance_scale=1.0),
        new_slot(2, controlnet_conditioning_scale=(0.0, 0.1)),
        new_slot(3, num_inference_steps=10, control_guidance_start=0.5),
    ]
    batch = build_batch(slots)
    assert batch.row_slot.tolist() == [0, 1, 2, 3, 0, 2, 3]
    assert batch.control_row.tolist() == [1, 2, 5], "of slot 1, and both of slot 2"
    assert batch.row_residual.tolist() == [0, 1, 2, 0, 0, 3, 0]
    slots[3].step = 5
    assert build_batch(slots).control_row.tolist() == [1, 2, 3, 5, 6], "its window has opened"
    assert build_batch(slots[:1]).num_control_rows == 0


def test_every_slot_has_its_own_coefficients(new_slot):
    early, late = new_slot(0, num_inference_steps=10), new_slot(1, num_inference_steps=50, scheduler="euler")
    late.step = 30
    batch = build_batch([early, late])
    assert batch.timesteps.tolist() == [early.schedule.timesteps[0], late.schedule.timesteps[30]]
    assert batch.input_scale.tolist() == [1.0, late.schedule.input_scale[30]]
    np.testing.assert_array_equal(batch.transition[1], late.schedule.transition[30])
    np.testing.assert_array_equal(batch.gain[0], early.schedule.gain[0])


def test_known_constants_give_the_same_batch(new_slot):
    slots = [new_slot(0), new_slot(1, guidance_scale=1.0)]
    plain, cached = build_batch(slots), build_batch(slots, batch_constants(slots))
    for field in fields(StepBatch):
        np.testing.assert_array_equal(getattr(plain, field.name), getattr(cached, field.name))


def test_given_latents_replace_the_seed_s_noise_and_are_scaled_like_it(new_slot):
    latents = np.full((4, 4, 3), 2.0, np.float32)
    slot = new_slot(latents=latents, scheduler="euler")
    np.testing.assert_allclose(slot.state[0], 2.0 * slot.schedule.initial_noise_gain, rtol=1e-6)
    assert slot.schedule.initial_noise_gain > 10
    assert not slot.state[1:].any()


def test_below_strength_1_the_first_sample_is_the_picture_with_noise(new_slot):
    noise, picture = np.full((4, 4, 3), 2.0, np.float32), np.full((4, 4, 3), 0.5, np.float32)
    slot = new_slot(
        latents=noise, image_latents=picture, scheduler="ddim", strength=0.6, num_inference_steps=10
    )
    reference = make_reference("ddim", dict(SD15))
    reference.set_timesteps(10)
    noised = reference.add_noise(torch.tensor([[0.5]]), torch.tensor([[2.0]]), reference.timesteps[4:5])
    np.testing.assert_allclose(slot.state[0], noised.item(), rtol=1e-5)
    assert not slot.state[1:].any()
    assert (slot.num_steps, slot.schedule.timesteps[0]) == (6, reference.timesteps[4])


def test_at_strength_1_the_picture_counts_for_nothing(new_slot):
    picture = np.ones((4, 4, 3), np.float32)
    np.testing.assert_array_equal(new_slot(image_latents=picture).state, new_slot().state)


@pytest.mark.parametrize(
    ("num_steps", "guidance_end", "guided"),
    [
        (10, 1.0, 10),
        (10, 0.7, 7),
        (10, 0.75, 7),
        (10, 0.09, 0),
        (10, 0.0, 0),
        (1, 0.9, 0),
        (1, 1.0, 1),
        (3, 0.67, 2),
    ],
)
def test_guidance_ends_where_a_controlnets_window_of_that_end_does(num_steps, guidance_end, guided):
    parameters = Parameters(
        num_steps, 7.5, controlnet_conditioning_scale=1.0, control_guidance_end=guidance_end or 1e-9,
        guidance_end=guidance_end,
    )  # fmt: skip
    assert guided_steps(parameters, num_steps) == guided
    assert controlnet_scales(parameters, num_steps, 1).sum() == guided


@pytest.mark.parametrize("num_steps", [1, 7, 10, 25])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.2, 0.7), (0.0, 0.3), (0.5, 1.0), (0.1, 0.6)])
def test_controlnet_windows_open_and_close_where_diffusers_does(num_steps, start, end):
    parameters = Parameters(
        controlnet_conditioning_scale=(0.5, 2.0),
        control_guidance_start=(start, 0.0),
        control_guidance_end=(end, 1.0),
    )
    scales = controlnet_scales(parameters, num_steps, 2)
    keeps = [1.0 - float(i / num_steps < start or (i + 1) / num_steps > end) for i in range(num_steps)]
    np.testing.assert_array_equal(scales[:, 0], np.float32(0.5) * np.array(keeps, np.float32))
    np.testing.assert_array_equal(scales[:, 1], np.float32(2.0))
