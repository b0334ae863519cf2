"""``denoiser``: hands requests to the engine and keeps their response senders for its answers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from packshot.errors import PackshotError, expected
from packshot_serving.adapters.metrics import MetricsObserver
from packshot_serving.adapters.tensors import Adapter, response
from packshot_serving.denoiser_settings import DenoiserSettings
from packshot_serving.draining import DRAIN_S, drain_when_asked
from packshot_serving.engine import DenoiseRequest, Engine, Runner
from packshot_serving.engine.bound_runner import BoundStepRunner
from packshot_serving.engine.capacity import choose_policy, measure_step_times
from packshot_serving.engine.device import CudaDevice
from packshot_serving.engine.job import OnDone
from packshot_serving.engine.onnx_program import onnx_programs
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.openvino_runner import OpenVinoStepRunner, require_bf16
from packshot_serving.engine.program import Program
from packshot_serving.engine.tensorrt_program import tensorrt_programs
from packshot_serving.own_server import give_up, ticket_prefix
from packshot_serving.processes import wait_until_server_rests
from packshot_serving.requests import read_parameters, read_priority, read_seed
from packshot_serving.shared_ticket import SharedTicket

log = logging.getLogger("packshot")

#: Seconds in which Triton hands the last latents to the next model of its ensembles.
_HANDING_OVER_S = 0.5
#: Seconds that the server's other models get to load before this one measures the machine.
LOADING_S = 10.0
#: Seconds of measuring. A GPU first compiles and records each size, for as long as many steps take.
MEASURING_S, MEASURING_GPU_S = 1.5, 30.0
#: What a processor's steps add to their niceness. Whatever else the server computes is short and ends a
#: request or answers a person who waits; beside it steps still have a tenth of a core (sched(7)).
_GIVE_WAY = 10


class TritonPythonModel(Adapter):
    """One engine, and in it the queue.

    Not Triton's: where a model has priorities, timeouts or a queue size, Triton 2.51 looks only
    twice a second whether the model can take the next of its waiting requests.
    """

    model = "denoiser"

    def initialize(self, args: Mapping[str, str]) -> None:
        """Measure the machine and start the engine; an exception here is Triton's failed model load."""
        super().initialize(args)
        self.settings = DenoiserSettings.read(self.parameters)
        self.tickets = ticket_prefix(os.getppid())
        on_gpu = args["model_instance_kind"] == "GPU"
        if not on_gpu:
            os.nice(_GIVE_WAY)  # of this thread and all that it starts: the runner's and the engine's
        directory = Path(args["model_repository"], args["model_version"])
        runner = self._runner(directory, on_gpu, args["model_instance_device_id"])
        # A step timed while the server's other models load takes up to three times as long.
        if not wait_until_server_rests(LOADING_S):
            log.warning("the server still loads other models; steps are timed beside them")
        budget_s = MEASURING_GPU_S if on_gpu else MEASURING_S
        times = measure_step_times(runner, self.family, budget_s=budget_s)
        chosen = choose_policy(times, self.settings.max_slots, self.settings.max_batch)
        policy = replace(chosen, max_queue_size=self.settings.max_queue_size)
        observer = MetricsObserver(times, policy)
        self.engine = Engine(runner, self.family, policy=policy, observer=observer, on_death=give_up)
        drain_when_asked(os.getppid(), self._drain)

    def execute(self, requests: list[Any]) -> None:
        """Admit each request; its answer is sent from the engine's thread."""
        for request in requests:
            respond = partial(self._respond_later, request.get_response_sender(), request.request_id())
            try:
                self._submit(request, respond)
            except Exception as error:  # noqa: BLE001 - whatever it is, its caller must be answered
                respond(error)

    def finalize(self) -> None:
        """Called by Triton at unload."""
        self.engine.close(drain_s=DRAIN_S)

    def _drain(self) -> None:
        self.engine.close(drain_s=DRAIN_S)
        # Also with nothing in work: the last answer may only just have been given.
        time.sleep(_HANDING_OVER_S)

    def _runner(self, directory: Path, on_gpu: bool, gpu: str) -> Runner:
        if self.settings.bf16:
            if on_gpu:
                raise expected("bf16", "an instance on a GPU", "one on the CPU")
            require_bf16()
            return OpenVinoStepRunner(directory)
        if on_gpu:
            if gpu != "0":
                raise expected("instance_group.gpus", gpu, "0; the denoiser computes on the first GPU")
            device = CudaDevice()
            return BoundStepRunner(self._programs(directory, device), self.family, device)
        # In the host's own memory keeping slots apart would only be another copy.
        return OnnxStepRunner(directory)

    def _programs(self, directory: Path, device: CudaDevice) -> tuple[Program, Program]:
        if flavour := self.settings.plans:
            if programs := tensorrt_programs(directory, device, flavour, device.gpu):
                return programs
            log.warning("no plans of %s for this GPU, %s: ONNX Runtime computes", flavour, device.gpu)
        return onnx_programs(directory, device)

    def _submit(self, request: Any, respond: OnDone) -> None:
        arrays = self.read(request)
        asked = self._denoise_request(request, arrays)
        ticket = SharedTicket.attach(self.tickets, arrays["ticket"].item()) if "ticket" in arrays else None
        try:
            self.engine.submit(asked, respond, ticket=ticket)
        except PackshotError:
            if ticket:
                ticket.close()
            raise

    def _denoise_request(self, request: Any, arrays: Mapping[str, np.ndarray]) -> DenoiseRequest:
        return DenoiseRequest(
            prompt_embeds=arrays["prompt_embeds"],
            negative_prompt_embeds=arrays["negative_prompt_embeds"],
            masked_image_latents=arrays["masked_image_latents"],
            mask_latents=arrays["mask_latents"],
            control_image=arrays["control_image"],
            seed=read_seed(arrays),
            latents=arrays.get("latents"),
            image_latents=arrays.get("image_latents"),
            parameters=read_parameters(arrays, self.family),
            request_id=request.request_id(),
            priority=read_priority(arrays),
            timeout_s=request.timeout() / 1e6 or self.settings.default_timeout_s,
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
