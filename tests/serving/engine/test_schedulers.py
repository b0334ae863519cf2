"""Schedulers against the diffusers classes they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from packshot_serving.engine import make_schedule
from tests.serving.engine.scheduler_runs import (
    CLASSES,
    COSINE,
    LATENT,
    LINEAR,
    ONE_TOO_MANY,
    SCALED_LINEAR,
    SD2,
    SD15,
    make_reference,
    worst_difference,
)

TOLERANCE = 1e-4
STEPS = (1, 2, 3, 4, 5, 14, 15, 16, 25, 50, 150, 200)
SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
#: Classes of diffusers that know no sample prediction; ours refuse it, see test_schedule_options.
WITHOUT_SAMPLE = ("pndm", "euler_ancestral")
#: Karras sigmas of these run over all trained timesteps, whatever the spacing.
WITHOUT_SPACING = ("dpmpp_2m_karras", "unipc_karras")
WITH_FINAL_SIGMA = ("dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_karras", "unipc", "unipc_karras")


def spacings(name: str) -> tuple[str, ...]:
    return ("leading",) if name in WITHOUT_SPACING else SPACINGS


#: Reading the model output is a function of its own there, so one run serves all prediction types.
MULTISTEP = ("dpmpp_2m", "dpmpp_2m_karras", "unipc", "unipc_karras")


def cases() -> list[tuple[str, str, tuple[str, ...]]]:
    """Scheduler, spacing and the prediction types that are compared together."""
    split: list[tuple[str, ...]] = [(prediction,) for prediction in PREDICTIONS]
    return [
        (name, spacing, predictions)
        for name in CLASSES
        for spacing in spacings(name)
        for predictions in ([PREDICTIONS] if name in MULTISTEP else split)
        if predictions != ("sample",) or name not in WITHOUT_SAMPLE
    ]


def worst_difference_of(name: str, config: dict, predictions: tuple[str, ...], steps) -> float:
    if len(predictions) > 1:
        return worst_difference(name, config, steps, prediction_types=predictions)
    return worst_difference(name, {**config, "prediction_type": predictions[0]}, steps)


def comparable(steps, timestep_spacing: str) -> list[int]:
    skipped = ONE_TOO_MANY if timestep_spacing == "trailing" else ()
    return [count for count in steps if count not in skipped]


@pytest.mark.parametrize(("name", "timestep_spacing", "predictions"), cases(), ids=str)
def test_equals_diffusers_at_1_to_100_steps(name, timestep_spacing, predictions):
    config = {**LATENT, **SCALED_LINEAR, "timestep_spacing": timestep_spacing}
    steps = comparable(range(1, 101), timestep_spacing)
    assert worst_difference_of(name, config, predictions, steps) < TOLERANCE


@pytest.mark.parametrize(("name", "timestep_spacing", "predictions"), cases(), ids=str)
def test_equals_diffusers_with_linear_betas(name, timestep_spacing, predictions):
    config = {**LATENT, **LINEAR, "timestep_spacing": timestep_spacing}
    assert worst_difference_of(name, config, predictions, STEPS[:-2]) < TOLERANCE


@pytest.mark.parametrize("config", [SD15, SD2], ids=["sd15", "sd2"])
@pytest.mark.parametrize("name", CLASSES)
def test_equals_diffusers_with_the_configs_of_published_checkpoints(name, config):
    assert worst_difference(name, config, STEPS) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "timestep_spacing"),
    [(name, spacing) for name in CLASSES if name != "pndm" for spacing in spacings(name)],
)
def test_equals_diffusers_with_zero_terminal_snr(name, timestep_spacing):
    config = {
        **SD2,
        "rescale_betas_zero_snr": True,
        "timestep_spacing": timestep_spacing,
        "set_alpha_to_one": True,
    }
    # Euler starts at a sigma of 4096: what float32 rounds there is 1e-4 of the sample one step later.
    tolerance = 5e-4 if name.startswith("euler") else TOLERANCE
    assert worst_difference(name, config, STEPS[:-1]) < tolerance


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, COSINE) for name in CLASSES),
        *((name, {"trained_betas": np.linspace(0.001, 0.01, 500).tolist()}) for name in CLASSES),
        *((name, {"final_sigmas_type": "sigma_min"}) for name in WITH_FINAL_SIGMA),
        *((name, {"steps_offset": 0, "set_alpha_to_one": True}) for name in CLASSES),
        *((name, {"use_karras_sigmas": True}) for name in ("dpmpp_2m", "euler", "unipc")),
        *((name, {"sigma_min": 0.1, "sigma_max": 10.0}) for name in ("euler_karras", "unipc_karras")),
        ("dpmpp_2m", {"lower_order_final": False}),
        ("dpmpp_2m", {"lower_order_final": False, "final_sigmas_type": "sigma_min"}),
        ("dpmpp_2m", {"euler_at_final": True, "final_sigmas_type": "sigma_min"}),
        ("dpmpp_2m", {**COSINE, "lambda_min_clipped": -5.1}),
        ("dpmpp_2m", {"solver_type": "logrho"}),
        ("unipc", {"solver_type": "midpoint"}),
        ("dpmpp_2m_karras", {"_use_default_values": ["use_karras_sigmas"]}),
    ],
    ids=str,
)
def test_equals_diffusers_with_rarer_options(name, options):
    for timestep_spacing in spacings(name):
        config = {**LATENT, **SCALED_LINEAR, "timestep_spacing": timestep_spacing, **options}
        if "trained_betas" in options:
            config["num_train_timesteps"] = len(options["trained_betas"])
        assert worst_difference(name, config, (1, 2, 3, 5, 14, 15, 16, 25, 50)) < TOLERANCE


@pytest.mark.parametrize("count", ONE_TOO_MANY)
@pytest.mark.parametrize("name", [name for name in CLASSES if "karras" not in name])
def test_leaves_out_the_step_that_diffusers_makes_too_many(name, count):
    config = {**LATENT, **SCALED_LINEAR, "timestep_spacing": "trailing"}
    scheduler = make_reference(name, config)
    scheduler.set_timesteps(count)
    schedule = make_schedule(name, config, count)
    assert scheduler.timesteps[-1] == -1, "diffusers has changed: compare these step counts, too"
    np.testing.assert_array_equal(schedule.timesteps, scheduler.timesteps.numpy()[:-1])


@pytest.mark.parametrize("count", [1, 2, 3, 25])
def test_pndm_calls_the_unet_at_its_second_timestep_twice(count):
    timesteps = make_schedule("pndm", SD15, count).timesteps
    assert len(timesteps) == (1 if count == 1 else count + 1)
    assert len(set(timesteps)) == count
    if count > 1:
        assert timesteps[1] == timesteps[2] or count == 2


@pytest.mark.parametrize("name", CLASSES)
def test_only_the_ancestral_scheduler_wants_noise_and_none_after_the_last_step(name):
    noise_gain = make_schedule(name, SD15, 10).noise_gain
    if name != "euler_ancestral":
        assert noise_gain is None
    else:
        assert (noise_gain[:-1, 0] > 0).all()
        assert noise_gain[-1, 0] == 0
        assert not noise_gain[:, 1:].any()
