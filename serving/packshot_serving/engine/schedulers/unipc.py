"""UniPC of second order (B₂(h), data prediction), as diffusers' ``UniPCMultistepScheduler``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packshot_serving.engine.schedulers.options import (
    COMMON_ACCEPTED,
    KARRAS_DEFAULTS,
    OFF,
    ON_OR_OFF,
    TRAINING_DEFAULTS,
    read_options,
)
from packshot_serving.engine.schedulers.prediction import denoised_weights
from packshot_serving.engine.schedulers.schedule import LinearForm
from packshot_serving.engine.schedulers.spacing import karras_sigmas, multistep_timesteps, timesteps_of
from packshot_serving.engine.schedulers.training import finite_alphas_cumprod, sigmas_of

_DEFAULTS = {
    **TRAINING_DEFAULTS,
    **KARRAS_DEFAULTS,
    "timestep_spacing": "linspace",
    "solver_order": 2,
    "solver_type": "bh2",
    "predict_x0": True,
    "lower_order_final": True,
    "disable_corrector": (),
    "solver_p": None,
    "thresholding": False,
    "final_sigmas_type": "zero",
    "use_flow_sigmas": False,
}
_ACCEPTED = {
    **COMMON_ACCEPTED,
    "solver_order": (2,),
    # diffusers reads the types of other solvers, which a config may hold, as bh2.
    "solver_type": ("bh2", "midpoint", "heun", "logrho"),
    "predict_x0": (True,),
    # A last step of second order would divide by an infinite step.
    "lower_order_final": (True,),
    "disable_corrector": ((), []),
    "solver_p": (None,),
    "thresholding": OFF,
    "final_sigmas_type": ("zero", "sigma_min"),
    "use_karras_sigmas": ON_OR_OFF,
    "use_exponential_sigmas": OFF,
    "use_beta_sigmas": OFF,
    "use_flow_sigmas": OFF,
}


def unipc(config: Mapping[str, Any], num_inference_steps: int, begin: int) -> LinearForm:
    """Zhao et al. 2023, UniPC-2 with B₂(h) = exp(h) − 1 on data predictions.

    The state is [predicted sample, last corrected sample, last denoised, the one before]. A step
    corrects the sample that the last one predicted, with what the model now says about it, and
    predicts the next from the corrected.
    """
    options = read_options(config, "UniPCMultistepScheduler", _DEFAULTS, _ACCEPTED)
    timesteps, ratios = _levels(options, num_inference_steps)
    alpha = 1 / np.sqrt(ratios**2 + 1)
    sigma = ratios * alpha
    from_sample, from_output = denoised_weights(options["prediction_type"], alpha[:-1], sigma[:-1])
    count = len(timesteps)
    # Each is a row of weights over the state's four latents and, last, the model output.
    sample, corrected, last, before = (np.tile(row, (count, 1)) for row in np.eye(5)[:4])
    denoised = from_sample[:, None] * sample
    denoised[:, 4] = from_output
    carried = sigma[1:] / sigma[:-1]
    # alpha' * (1 − exp(−h)); exp(−h) is the quotient of the two noise-to-signal ratios.
    push = alpha[1:] * (1 - ratios[1:] / ratios[:-1])
    steps = -np.diff(np.log(ratios))  # in λ = log(alpha/sigma); the last may be infinite

    fixed = sample.copy()
    rho_before, rho_now = _corrector_weights(steps, begin)
    fixed[begin + 1 :] = (
        carried[:-1, None] * corrected[1:]
        + push[:-1, None]
        * (
            last[1:]
            + rho_before[:, None] * (before[1:] - last[1:])
            + rho_now[:, None] * (denoised - last)[1:]
        )
    )[begin:]
    slope = np.zeros(count)
    slope[begin + 1 : -1] = steps[begin + 1 : -1] / (2 * steps[begin:-2])
    following = carried[:, None] * fixed + push[:, None] * (denoised + slope[:, None] * (denoised - last))
    rows = np.stack([following, fixed, denoised, last], axis=1)
    rows[begin, 3] = 0.0
    return LinearForm(timesteps, rows[:, :, :4], rows[:, :, 4], signal=alpha[:-1], noise=sigma[:-1])


def _corrector_weights(steps: np.ndarray, begin: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the older and of the newest difference of denoised, correcting each step but the last.

    They solve R ρ = b of ``multistep_uni_c_bh_update``, in closed form; at first order ρ is 1/2.

    Args:
        steps: in λ, [N].
        begin: the first step, which predicts at first order and so is corrected at first order.
    """
    h = steps[:-1]
    older, newest = np.zeros(len(h)), np.full(len(h), 0.5)
    second = slice(begin + 1, None)
    step, behind = h[second], h[begin : len(h) - 1]
    growth = np.expm1(-step)
    phi_2 = growth / -step - 1
    phi_3 = phi_2 / -step - 0.5
    b_1, b_2 = phi_2 / growth, 2 * phi_3 / growth
    place = -behind / step
    rho = (b_1 - b_2) / (1 - place)
    older[second] = rho / place
    newest[second] = b_1 - rho
    return older, newest


def _levels(options: Mapping[str, Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps [N] and noise-to-signal ratios [N + 1], the final one included."""
    bar = finite_alphas_cumprod(options)
    at_zero = options["final_sigmas_type"] == "zero"
    if options["use_karras_sigmas"]:
        trained = sigmas_of(bar.astype(np.float32))
        ratios = karras_sigmas(options, float(trained[-1]), float(trained[0]), count)
        return timesteps_of(ratios, trained).round(), np.append(ratios, 0.0 if at_zero else ratios[-1])
    trained = sigmas_of(bar)
    timesteps = multistep_timesteps(options, count, last=len(trained))
    ratios = np.interp(timesteps, np.arange(len(trained)), trained)
    return timesteps, np.append(ratios, 0.0 if at_zero else trained[0])
