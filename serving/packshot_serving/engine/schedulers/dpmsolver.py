"""DPM-Solver++ of second order, multistep, as diffusers' ``DPMSolverMultistepScheduler``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot.errors import expected
from packshot_serving.engine.schedulers.options import (
    COMMON_ACCEPTED,
    KARRAS_DEFAULTS,
    OFF,
    ON_OR_OFF,
    TRAINING_DEFAULTS,
    read_options,
)
from packshot_serving.engine.schedulers.prediction import denoised_weights
from packshot_serving.engine.schedulers.schedule import DenoisedForm, LinearForm
from packshot_serving.engine.schedulers.spacing import karras_sigmas, multistep_timesteps, timesteps_of
from packshot_serving.engine.schedulers.training import finite_alphas_cumprod, sigmas_of

_DEFAULTS = {
    **TRAINING_DEFAULTS,
    **KARRAS_DEFAULTS,
    "timestep_spacing": "linspace",
    "solver_order": 2,
    "solver_type": "midpoint",
    "algorithm_type": "dpmsolver++",
    "thresholding": False,
    "lower_order_final": True,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
    "lambda_min_clipped": -float("inf"),
    "variance_type": None,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
}
_ACCEPTED = {
    **COMMON_ACCEPTED,
    "solver_order": (2,),
    # diffusers reads the types of other solvers, which a config may hold, as midpoint.
    "solver_type": ("midpoint", "logrho", "bh1", "bh2"),
    "algorithm_type": ("dpmsolver++",),
    "thresholding": OFF,
    "final_sigmas_type": ("zero", "sigma_min"),
    "variance_type": OFF,
    "use_karras_sigmas": ON_OR_OFF,
    "use_exponential_sigmas": OFF,
    "use_beta_sigmas": OFF,
    "use_lu_lambdas": OFF,
    "use_flow_sigmas": OFF,
}
#: Below this many steps diffusers takes the last one at first order (``lower_order_final``).
_FEW_STEPS = 15


def dpmpp_2m(config: Mapping[str, Any], num_inference_steps: int, begin: int) -> LinearForm:
    """Lu et al. 2022 (DPM-Solver++), algorithm 2, in its midpoint form.

    With h the step in λ = log(alpha/sigma) and r the last step over this one, the next sample is
    ``sigma'/sigma * sample − alpha' * expm1(−h) * (D + (D − D_last) / (2 r))``, D being the denoised.
    """
    options = read_options(config, "DPMSolverMultistepScheduler", _DEFAULTS, _ACCEPTED)
    timesteps, ratios = _levels(options, num_inference_steps)
    if begin >= len(timesteps):
        raise expected(
            "strength",
            f"a start at step {begin + 1} of {num_inference_steps}",
            f"at most {len(timesteps)}: lambda_min_clipped of scheduler_config.json leaves no more",
        )
    alpha = 1 / np.sqrt(ratios**2 + 1)
    sigma = ratios * alpha
    from_sample, from_output = denoised_weights(options["prediction_type"], alpha[:-1], sigma[:-1])
    # exp(−h) is the quotient of the two noise-to-signal ratios: no infinity where the last is zero.
    first_order = alpha[1:] * (1 - ratios[1:] / ratios[:-1])
    correction = first_order * _half_inverse_r(options, ratios)
    return DenoisedForm(
        timesteps=timesteps,
        signal=alpha[:-1],
        noise=sigma[:-1],
        denoised_from_sample=from_sample,
        denoised_from_output=from_output,
        from_sample=sigma[1:] / sigma[:-1],
        from_denoised=first_order + correction,
        from_last=-correction,
    ).linear(begin)


def _levels(options: Mapping[str, Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps [N] and noise-to-signal ratios [N + 1], the final one included."""
    bar = finite_alphas_cumprod(options)
    trained = sigmas_of(bar)
    if options["use_karras_sigmas"]:
        rounded = sigmas_of(bar.astype(np.float32))
        ratios = karras_sigmas(options, float(rounded[-1]), float(rounded[0]), count)
        timesteps = timesteps_of(ratios, rounded)
        # diffusers rounds to whole timesteps, but cuts them down with cosine betas.
        cosine = options["beta_schedule"] == "squaredcos_cap_v2"
        timesteps = np.floor(timesteps) if cosine else timesteps.round()
    else:
        timesteps = multistep_timesteps(options, count, _last_timestep(options, trained))
        ratios = np.interp(timesteps, np.arange(len(trained)), trained)
    return timesteps, np.append(ratios, trained[0] if options["final_sigmas_type"] == "sigma_min" else 0.0)


def _half_inverse_r(options: Mapping[str, Any], ratios: np.ndarray) -> np.ndarray:
    """1 / (2 r) = h / (2 h_last) at each step; 0 where the step is of first order."""
    count = len(ratios) - 1
    weights = np.zeros(count)
    lower_at_end = (
        options["euler_at_final"]
        or (options["lower_order_final"] and count < _FEW_STEPS)
        or options["final_sigmas_type"] == "zero"
    )
    end = count - 1 if lower_at_end else count
    if end > 1:
        h = -np.diff(np.log(ratios[: end + 1]))
        weights[1:end] = h[1:] / (2 * h[:-1])
    return weights


def _last_timestep(options: Mapping[str, Any], trained: np.ndarray) -> int:
    """One past the noisiest timestep whose λ is not below ``lambda_min_clipped``."""
    lowest = float(options["lambda_min_clipped"])
    lambdas = -np.log(trained)
    return options["num_train_timesteps"] - int(np.searchsorted(lambdas[::-1], lowest))
