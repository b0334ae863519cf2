"""What is done once for a request: checks when it comes, the rest when its first step does."""

from __future__ import annotations

import logging
from functools import lru_cache, partial

import numpy as np

from packshot.arrays import describe
from packshot.errors import InternalError
from packshot.family import Family
from packshot_serving.engine.request import DenoiseRequest, asked_schedule
from packshot_serving.engine.runner import ResidentRunner, Runner, SlotTensors, StepRunner
from packshot_serving.engine.schedulers import Schedule
from packshot_serving.engine.slot import Slot, open_slot

logger = logging.getLogger(__name__)

#: The control embedding of a slot that the runner keeps.
_ELSEWHERE = np.empty((0, 0, 0, 0), np.float32)


class Preparation:
    """Checks requests, in any thread, and makes slots of them."""

    def __init__(self, runner: Runner, family: Family) -> None:
        self._runner = runner
        self._family = family
        # A schedule depends on nothing but these three, and costs more than a small step.
        self._schedule = lru_cache(maxsize=64)(partial(asked_schedule, family))

    def check(self, request: DenoiseRequest) -> Schedule:
        """The scheduler's coefficients for a request; for errors see :meth:`Engine.submit`."""
        request.check(self._family)
        parameters = request.parameters
        return self._schedule(parameters.scheduler, parameters.num_inference_steps, parameters.strength)

    def begin(self, request: DenoiseRequest, schedule: Schedule) -> Slot:
        """The slot of a request at its first step.

        Raises:
            InternalError: the control image's embedding failed, or there is no memory for the slot.
        """
        try:
            if isinstance(self._runner, ResidentRunner):
                return self._admitted(self._runner, request, schedule)
            return open_slot(request, self._family, schedule, self._embed(self._runner, request))
        except MemoryError as error:
            raise InternalError("there is no memory for the request's latents") from error

    def _admitted(self, runner: ResidentRunner, request: DenoiseRequest, schedule: Schedule) -> Slot:
        """A slot whose tensors are with the runner."""
        slot = open_slot(request, self._family, schedule, _ELSEWHERE)
        tensors = SlotTensors(
            slot.state,
            request.mask_latents,
            request.masked_image_latents,
            request.prompt_embeds,
            request.negative_prompt_embeds,
            request.control_image,
        )
        try:
            slot.residence = runner.admit(tensors)
        except Exception as error:
            logger.exception("request %r: the device could not take it", request.request_id)
            raise InternalError("the device could not take the request; the server's log says why") from error
        return slot

    def _embed(self, runner: StepRunner, request: DenoiseRequest) -> np.ndarray:
        try:
            embedding = runner.embed_control(request.control_image)
        except Exception as error:
            logger.exception("request %r: the control image's embedding failed", request.request_id)
            raise InternalError("the control image's embedding failed; the server's log says why") from error
        dims, (height, width) = self._family.dims, request.latent_size
        if embedding.shape != (dims["K"], dims["G"], height, width) or embedding.dtype != np.float32:
            raise InternalError(
                f"control_embedding: got {describe(embedding)}, "
                f"expected float32[{dims['K']},{dims['G']},{height},{width}]"
            )
        return embedding
