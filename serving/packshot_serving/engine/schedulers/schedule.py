"""A scheduler as a linear map from state and model output to the next state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packshot.errors import RepositoryError

STATE_SIZE = 2


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The coefficients of a whole denoising run of N steps.

    ``next_state = transition @ state + gain * guided_model_output`` over the axis m, where
    state[0] is the sample and state[1:] the scheduler's history, zero before the first step.

    Attributes:
        timesteps: float32 [N], what the UNet is told.
        input_scale: float32 [N], what the sample is multiplied by before the UNet sees it.
        transition: float32 [N, m, m].
        gain: float32 [N, m].
        init_noise_sigma: what noise of unit variance is multiplied by to become the first sample.
    """

    timesteps: np.ndarray
    input_scale: np.ndarray
    transition: np.ndarray
    gain: np.ndarray
    init_noise_sigma: float

    @property
    def num_steps(self) -> int:
        """N: how often the UNet is called."""
        return len(self.timesteps)

    @property
    def state_size(self) -> int:
        """The m of the contract: latents in the state."""
        return self.gain.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class DenoisedForm:
    """The form in which every scheduler here can be written, float64 [N] each.

    ::

        denoised    = denoised_from_sample * sample + denoised_from_output * model_output
        next sample = from_sample * sample + from_denoised * denoised + from_last * last denoised

    ``from_last`` is None for one-step schedulers; else the last denoised is state[1].
    """

    timesteps: np.ndarray
    denoised_from_sample: np.ndarray
    denoised_from_output: np.ndarray
    from_sample: np.ndarray
    from_denoised: np.ndarray
    from_last: np.ndarray | None = None
    input_scale: np.ndarray | None = None
    init_noise_sigma: float = 1.0

    def schedule(self, state_size: int) -> Schedule:
        """Fold the two equations into one linear map over a state of ``state_size`` latents.

        Raises:
            RepositoryError: a coefficient is infinite, as with an epsilon prediction at a
                signal-to-noise ratio of zero.
            ValueError: the scheduler's history does not fit into the state.
        """
        if state_size < (1 if self.from_last is None else 2):
            raise ValueError(f"state_size: got {state_size}, too small for this scheduler's history")
        count = len(self.timesteps)
        transition, gain = np.zeros((count, state_size, state_size)), np.zeros((count, state_size))
        with np.errstate(invalid="ignore"):  # infinities are refused below
            transition[:, 0, 0] = self.from_sample + self.from_denoised * self.denoised_from_sample
        gain[:, 0] = self.from_denoised * self.denoised_from_output
        if self.from_last is not None:
            transition[:, 0, 1] = self.from_last
            transition[:, 1, 0] = self.denoised_from_sample
            gain[:, 1] = self.denoised_from_output
        if not (np.isfinite(transition).all() and np.isfinite(gain).all()):
            raise RepositoryError(
                "scheduler_config.json: its betas, prediction_type and timestep_spacing give infinite "
                "coefficients (an epsilon prediction cannot start at a signal-to-noise ratio of zero)"
            )
        return Schedule(
            timesteps=_frozen(self.timesteps),
            input_scale=_frozen(np.ones(count) if self.input_scale is None else self.input_scale),
            transition=_frozen(transition),
            gain=_frozen(gain),
            init_noise_sigma=self.init_noise_sigma,
        )


def _frozen(array: np.ndarray) -> np.ndarray:
    rounded = array.astype(np.float32)
    rounded.setflags(write=False)  # schedules are shared between requests
    return rounded
