"""What a caller asks of the denoiser, checked against the contract and the family."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from packshot.arrays import brackets, describe
from packshot.contract import DTYPE_NAMES, MODELS
from packshot.errors import InvalidArgument, RepositoryError, expected
from packshot.family import Family
from packshot.parameters import INTERACTIVE, PER_CONTROLNET, Parameters, check_priority, check_seed
from packshot_serving.engine.schedulers import Schedule, make_schedule

_TENSORS = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "masked_image_latents",
    "mask_latents",
    "control_image",
    "latents",
    "image_latents",
)


@dataclass(frozen=True, slots=True, eq=False)
class DenoiseRequest:
    """One picture to denoise.

    Attributes:
        prompt_embeds: float32 [T, D].
        negative_prompt_embeds: float32 [T, D]; not read at guidance ≤ 1.
        masked_image_latents: float32 [C, h, w].
        mask_latents: float32 [1, h, w], 1 = repaint.
        control_image: uint8 [K, H, W], one for each ControlNet.
        seed: 0 to 2^63 − 1; with ``latents`` only read for the noise that
            ``euler_ancestral`` adds after each step.
        latents: noise of unit variance instead of the seed's, float32 [C, h, w], or None.
        image_latents: of the picture to start from, float32 [C, h, w]; not read at strength 1, where
            they may be None.
        parameters: how to denoise.
        request_id: names the request in the log.
        priority: 1 interactive, 2 catalogue.
        timeout_s: how long it may wait for a slot; 0 is for ever.
    """

    prompt_embeds: np.ndarray
    negative_prompt_embeds: np.ndarray
    masked_image_latents: np.ndarray
    mask_latents: np.ndarray
    control_image: np.ndarray
    seed: int = 0
    latents: np.ndarray | None = None
    image_latents: np.ndarray | None = None
    parameters: Parameters = field(default_factory=Parameters)
    request_id: str = ""
    priority: int = INTERACTIVE
    timeout_s: float = 0.0

    @property
    def latent_size(self) -> tuple[int, int]:
        """h and w."""
        return self.masked_image_latents.shape[1], self.masked_image_latents.shape[2]

    def copied(self) -> DenoiseRequest:
        """The same with arrays of its own: the caller's buffers may go away."""
        arrays = {name: getattr(self, name) for name in _TENSORS}
        return replace(self, **{name: array.copy() for name, array in arrays.items() if array is not None})

    def check(self, family: Family) -> None:
        """Refuse what cannot be denoised.

        Raises:
            InvalidArgument: a tensor has another dtype or shape than the contract says or holds
                NaN or infinity, the canvas is not one of the family's, the seed is out of range,
                the priority is unknown, there are more ControlNet values than ControlNets, or
                strength < 1 and there is no picture to start from.
        """
        check_seed(self.seed)
        check_priority(self.priority)
        check_picture(self.parameters, self.image_latents)
        if self.control_image.ndim != 3:
            raise expected("control_image", describe(self.control_image), "uint8[K,H,W]")
        _, height, width = self.control_image.shape
        family.canvas.check(width, height, "control_image")
        sizes = {
            "H": height,
            "W": width,
            "h": height // family.canvas.multiple,
            "w": width // family.canvas.multiple,
        }
        for name in _TENSORS:
            array = getattr(self, name)
            if array is not None:
                _check_tensor(name, array, {**family.dims, **sizes})
        for name in PER_CONTROLNET:
            self.parameters.per_controlnet(name, family.dims["K"])


def check_picture(parameters: Parameters, image_latents: np.ndarray | None) -> None:
    """Refuse a run that is to start from a picture and has none.

    Raises:
        InvalidArgument: strength < 1 without ``image_latents``.
    """
    if parameters.strength < 1 and image_latents is None:
        raise expected(
            "image_latents",
            f"nothing at strength {parameters.strength:g}",
            "the latents of the picture to start from: vae_encoder's masked_image_latents of it with a "
            "mask_image of zeros",
        )


def asked_schedule(family: Family, scheduler: str, num_inference_steps: int, strength: float) -> Schedule:
    """The scheduler's coefficients for what a request asks of a family; see :func:`make_schedule`.

    Raises:
        InvalidArgument: as there, and where the checkpoint's options rule the scheduler out: they are what
            they are, so asking for it is the caller's mistake.
    """
    try:
        return make_schedule(scheduler, family.scheduler, num_inference_steps, strength=strength)
    except RepositoryError as error:
        raise InvalidArgument(f"scheduler: {error}") from None


def _check_tensor(name: str, array: np.ndarray, bound: dict[str, int]) -> None:
    tensor = MODELS["denoiser"].input(name)
    dtype, shape = np.dtype(DTYPE_NAMES[tensor.dtype]), tensor.bind(bound)
    if array.dtype != dtype or array.shape != shape:
        raise expected(name, describe(array), f"{dtype}{brackets(shape)}")
    if dtype.kind == "f" and not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise expected(name, f"{count} values that are NaN or infinite", "finite numbers")
