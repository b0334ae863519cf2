"""What is done once for a request, before it gets a slot; in its caller's thread."""

from __future__ import annotations

import logging
from functools import lru_cache

import numpy as np

from packshot.arrays import describe
from packshot.errors import InternalError
from packshot.family import Family
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import StepRunner
from packshot_serving.engine.schedulers import STATE_SIZE, make_schedule
from packshot_serving.engine.slot import OnDone, Slot, open_slot
from packshot_serving.engine.ticket import Ticket

logger = logging.getLogger(__name__)


class Preparation:
    """Checks requests and makes slots of them; any number of threads may call it."""

    def __init__(self, runner: StepRunner, family: Family) -> None:
        self._runner = runner
        self._family = family
        # A schedule depends on nothing but these three, and costs more than a small step.
        self._schedule = lru_cache(maxsize=64)(
            lambda scheduler, num_steps, strength: make_schedule(
                scheduler, family.scheduler, num_steps, STATE_SIZE, strength
            )
        )

    def __call__(
        self, request: DenoiseRequest, on_done: OnDone, arrived: float = 0.0, ticket: Ticket | None = None
    ) -> Slot:
        """The slot of a request at its first step; for errors see :meth:`Engine.submit`."""
        request.check(self._family)
        parameters = request.parameters
        schedule = self._schedule(parameters.scheduler, parameters.num_inference_steps, parameters.strength)
        embedding = self._embed(request)
        return open_slot(request, self._family, schedule, embedding, on_done, arrived=arrived, ticket=ticket)

    def _embed(self, request: DenoiseRequest) -> np.ndarray:
        try:
            embedding = self._runner.embed_control(request.control_image)
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
