"""``denoiser``: hands requests to the engine and keeps their response senders for its answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from packshot_serving.adapters.metrics import MetricsObserver
from packshot_serving.adapters.tensors import Adapter, response
from packshot_serving.engine import DenoiseRequest, Engine, OnnxStepRunner
from packshot_serving.requests import read_parameters, read_priority, read_seed

#: Seconds that requests under way get at unload.
DRAIN_S = 30.0


class TritonPythonModel(Adapter):
    """One engine; ``execute`` blocks while no slot is free, so that Triton's queue does the waiting."""

    model = "denoiser"

    def initialize(self, args: Mapping[str, str]) -> None:
        """Start the engine; an exception here is Triton's failed model load."""
        super().initialize(args)
        runner = OnnxStepRunner(Path(args["model_repository"], args["model_version"]))
        max_slots = int(self.parameters["max_slots"])
        self.engine = Engine(runner, self.family, max_slots, observer=MetricsObserver())

    def execute(self, requests: list[Any]) -> None:
        """Admit each request; its answer is sent from the engine's thread."""
        for request in requests:
            respond = partial(self._respond_later, request.get_response_sender(), request.request_id())
            try:
                self.engine.submit(self._denoise_request(request), respond)
            except Exception as error:  # noqa: BLE001 - whatever it is, its caller must be answered
                respond(error)
        # Triton picks the next request when this returns: not before it can be seated, or one of
        # higher priority that comes meanwhile would wait behind it.
        self.engine.wait_for_slot()

    def finalize(self) -> None:
        """Called by Triton at unload."""
        self.engine.close(drain_s=DRAIN_S)

    def _denoise_request(self, request: Any) -> DenoiseRequest:
        arrays = self.read(request)
        return DenoiseRequest(
            prompt_embeds=arrays["prompt_embeds"],
            negative_prompt_embeds=arrays["negative_prompt_embeds"],
            masked_image_latents=arrays["masked_image_latents"],
            mask_latents=arrays["mask_latents"],
            control_image=arrays["control_image"],
            seed=read_seed(arrays),
            latents=arrays.get("latents"),
            image_latents=arrays.get("image_latents"),
            parameters=read_parameters(arrays),
            request_id=request.request_id(),
            priority=read_priority(arrays),
        )

    def _respond_later(self, sender: Any, request_id: str, result: np.ndarray | Exception) -> None:
        def outputs() -> dict[str, np.ndarray]:
            if isinstance(result, Exception):
                raise result
            return {"latents": result}

        sender.send(
            response(self.model, request_id, outputs),
            flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
        )
