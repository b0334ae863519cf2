"""A scheduler as a linear map from state, model output and fresh noise to the next state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from packshot.errors import RepositoryError

#: The least that suffices for every scheduler: PNDM carries the sample and three model outputs.
STATE_SIZE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The coefficients of a whole denoising run of N steps.

    ``next_state = transition @ state + gain * guided_model_output`` over the axis m, where
    state[0] is the sample and state[1:] the scheduler's history, zero before the first step.
    What a scheduler does not use of the state stays zero, so it is finite, too.

    The first sample is ``initial_sample_gain * picture_latents + initial_noise_gain * noise``,
    noise of unit variance. A scheduler with ``noise_gain`` wants fresh noise of unit variance after
    each step: ``next_state += noise_gain[step] * noise`` (see ``noise.step_noise``).

    Attributes:
        timesteps: float32 [N], what the UNet is told.
        input_scale: float32 [N], what the sample is multiplied by before the UNet sees it.
        transition: float32 [N, m, m].
        gain: float32 [N, m].
        initial_noise_gain: weight of the noise in the first sample.
        initial_sample_gain: weight of the given picture's latents in the first sample; 0 at
            strength 1, when no picture is needed.
        noise_gain: float32 [N, m], or None if the scheduler is deterministic.
    """

    timesteps: np.ndarray
    input_scale: np.ndarray
    transition: np.ndarray
    gain: np.ndarray
    initial_noise_gain: float
    initial_sample_gain: float = 0.0
    noise_gain: np.ndarray | None = None

    @property
    def num_steps(self) -> int:
        """N: how often the UNet is called."""
        return len(self.timesteps)

    @property
    def state_size(self) -> int:
        """The m of the contract: latents in the state."""
        return self.gain.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class LinearForm:
    """The unrounded coefficients of all steps, float64, for a state of the scheduler's own size k.

    Attributes:
        timesteps: [N].
        transition: [N, k, k].
        gain: [N, k].
        signal: [N], weight of the picture in the sample before each step (``add_noise``).
        noise: [N], weight of the noise in it.
        input_scale: [N], or None for 1.
        init_noise_sigma: first sample over noise where no picture is given.
        noise_gain: [N], weight of fresh noise in the next sample, or None.
    """

    timesteps: np.ndarray
    transition: np.ndarray
    gain: np.ndarray
    signal: np.ndarray
    noise: np.ndarray
    input_scale: np.ndarray | None = None
    init_noise_sigma: float = 1.0
    noise_gain: np.ndarray | None = None

    def schedule(self, begin: int, from_picture: bool) -> Schedule:
        """The steps from ``begin`` on, over a state of ``STATE_SIZE`` latents.

        Raises:
            RepositoryError: a coefficient is infinite, as with an epsilon prediction at a
                signal-to-noise ratio of zero.
        """
        needed = self.gain.shape[1]
        count = len(self.timesteps) - begin
        transition, gain = np.zeros((count, STATE_SIZE, STATE_SIZE)), np.zeros((count, STATE_SIZE))
        transition[:, :needed, :needed] = self.transition[begin:]
        gain[:, :needed] = self.gain[begin:]
        noise_gain = None
        if self.noise_gain is not None:
            noise_gain = np.zeros_like(gain)
            noise_gain[:, 0] = self.noise_gain[begin:]
        if not (np.isfinite(transition).all() and np.isfinite(gain).all()):
            raise RepositoryError(
                "scheduler_config.json: its betas, prediction_type and timestep_spacing give infinite "
                "coefficients (an epsilon prediction cannot start at a signal-to-noise ratio of zero)"
            )
        return Schedule(
            timesteps=_frozen(self.timesteps[begin:]),
            input_scale=_frozen(np.ones(count) if self.input_scale is None else self.input_scale[begin:]),
            transition=_frozen(transition),
            gain=_frozen(gain),
            initial_noise_gain=float(self.noise[begin]) if from_picture else self.init_noise_sigma,
            initial_sample_gain=float(self.signal[begin]) if from_picture else 0.0,
            noise_gain=None if noise_gain is None else _frozen(noise_gain),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DenoisedForm:
    """The form in which the schedulers without a corrector can be written, float64 [N] each.

    ::

        denoised    = denoised_from_sample * sample + denoised_from_output * model_output
        next sample = from_sample * sample + from_denoised * denoised + from_last * last denoised

    ``from_last`` is None for one-step schedulers; else the last denoised is state[1]. The other
    fields are those of :class:`LinearForm`.
    """

    timesteps: np.ndarray
    signal: np.ndarray
    noise: np.ndarray
    denoised_from_sample: np.ndarray
    denoised_from_output: np.ndarray
    from_sample: np.ndarray
    from_denoised: np.ndarray
    from_last: np.ndarray | None = None
    input_scale: np.ndarray | None = None
    init_noise_sigma: float = 1.0
    noise_gain: np.ndarray | None = None

    def linear(self, begin: int) -> LinearForm:
        """Fold the two equations into one linear map; the run begins at step ``begin``."""
        count, size = len(self.timesteps), 1 if self.from_last is None else 2
        transition, gain = np.zeros((count, size, size)), np.zeros((count, size))
        from_denoised = self.from_denoised
        if self.from_last is not None:
            # At first there is no last denoised: both weights are this one's.
            from_last, from_denoised = self.from_last.copy(), from_denoised.copy()
            from_denoised[begin] += from_last[begin]
            from_last[begin] = 0.0
            transition[:, 0, 1] = from_last
            transition[:, 1, 0] = self.denoised_from_sample
            gain[:, 1] = self.denoised_from_output
        transition[:, 0, 0] = self.from_sample + from_denoised * self.denoised_from_sample
        gain[:, 0] = from_denoised * self.denoised_from_output
        return LinearForm(
            timesteps=self.timesteps,
            transition=transition,
            gain=gain,
            signal=self.signal,
            noise=self.noise,
            input_scale=self.input_scale,
            init_noise_sigma=self.init_noise_sigma,
            noise_gain=self.noise_gain,
        )


#: Config, num_inference_steps and the step to begin at → all steps. Those before are not read.
Build = Callable[[Mapping[str, Any], int, int], LinearForm]


def _frozen(array: np.ndarray) -> np.ndarray:
    rounded = array.astype(np.float32)
    rounded.setflags(write=False)  # schedules are shared between requests
    return rounded
