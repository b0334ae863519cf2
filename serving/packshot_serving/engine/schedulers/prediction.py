"""What a UNet's output says about the picture without noise."""

from __future__ import annotations

import numpy as np


def denoised_weights(
    prediction_type: str, alpha: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights w, v with ``denoised = w * sample + v * model_output``.

    The sample is ``alpha * denoised + sigma * epsilon`` and alpha² + sigma² = 1; a v-prediction is
    ``alpha * epsilon − sigma * denoised`` (Salimans and Ho 2022).

    Args:
        prediction_type: epsilon, v_prediction or sample.
        alpha: weight of the picture in the sample, float64 [N].
        sigma: weight of the noise in the sample, float64 [N].
    """
    if prediction_type == "epsilon":
        return 1 / alpha, -sigma / alpha
    if prediction_type == "v_prediction":
        return alpha, -sigma
    return np.zeros_like(alpha), np.ones_like(alpha)
