"""diffusers: its pipeline in this process, on the checkpoints that packshot's repository was made of."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
from diffusers import ControlNetModel, DPMSolverMultistepScheduler, StableDiffusionControlNetInpaintPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from packshot.errors import expected
from packshot_bench.job import Job
from packshot_bench.subjects import Painted
from packshot_export.loading import quiet_libraries
from packshot_serving.engine.openvino_runner import require_bf16

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
#: As packshot does, so that the pictures can be compared.
_POSTERIOR_AT_ITS_MODE = mock.patch.object(
    DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode()
)
#: Stage, and the part of the pipeline and its method that it consists of.
_STAGES = (
    ("text", "text_encoder", "forward"),
    ("vae_encode", "vae", "encode"),
    ("steps", "unet", "forward"),
    ("steps", "controlnet", "forward"),
    ("vae_decode", "vae", "decode"),
)
#: The one scheduler that jobs are compared with.
SCHEDULER = "dpmpp_2m"


class Pipeline:
    """``StableDiffusionControlNetInpaintPipeline``.

    In bf16 it needs a processor that knows bfloat16; torch also computes on others, many times as slow.

    Args:
        checkpoints: directory with ``diffusion`` and one ``controlnet``.
        precision: of weights and arithmetic.
        compiled: whether UNet, ControlNet and VAE go through ``torch.compile``.
    """

    def __init__(self, checkpoints: Path, precision: Literal["fp32", "bf16"], compiled: bool = False) -> None:
        self._checkpoints, self._type, self._compiled = checkpoints, _TYPES[precision], compiled
        self._stages_s: dict[str, float] = defaultdict(float)

    def __enter__(self) -> Pipeline:
        if self._type is torch.bfloat16:
            require_bf16()
        # Low memory usage would ask for another package.
        arguments = {"torch_dtype": self._type, "low_cpu_mem_usage": False}
        with quiet_libraries():
            controlnet: Any = ControlNetModel.from_pretrained(self._checkpoints / "controlnet", **arguments)
            pipeline: Any = StableDiffusionControlNetInpaintPipeline.from_pretrained(
                self._checkpoints / "diffusion", controlnet=controlnet, safety_checker=None, **arguments
            )
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        if controlnet.config.in_channels == pipeline.unet.config.in_channels:
            _show_all_channels(pipeline)
        if self._compiled:
            for module in (pipeline.unet, pipeline.controlnet, pipeline.vae):
                module.compile()
        else:  # a clock inside a compiled graph would split it
            for stage, part, method in _STAGES:
                self._time(stage, getattr(pipeline, part), method)
        self._pipeline = pipeline
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._pipeline

    def paint(self, job: Job) -> Painted:
        """One call of the pipeline.

        Raises:
            InvalidArgument: the job wants another scheduler than the one that is set here.
        """
        if job.parameters.scheduler != SCHEDULER:
            raise expected("scheduler", job.parameters.scheduler, SCHEDULER)
        composition, parameters = job.composition, job.parameters
        width, height = composition.size
        self._stages_s.clear()
        began = time.perf_counter()
        with torch.inference_mode(), _POSTERIOR_AT_ITS_MODE:
            answer = self._pipeline(
                prompt=job.prompt,
                negative_prompt=job.negative_prompt,
                image=Image.fromarray(composition.image),
                mask_image=Image.fromarray(composition.mask_image),
                control_image=Image.fromarray(job.control_image).convert("RGB"),
                width=width,
                height=height,
                latents=torch.from_numpy(job.latents)[None].to(self._type),
                num_inference_steps=parameters.num_inference_steps,
                guidance_scale=parameters.guidance_scale,
                controlnet_conditioning_scale=parameters.controlnet_conditioning_scale,
            )
        image = np.asarray(answer.images[0])
        return Painted(image, time.perf_counter() - began, dict(self._stages_s))

    def _time(self, stage: str, part: Any, method: str) -> None:
        """Have a method's seconds added to a stage."""
        untimed = getattr(part, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return untimed(*args, **kwargs)
            finally:
                self._stages_s[stage] += time.perf_counter() - began

        setattr(part, method, timed)


def _show_all_channels(pipeline: Any) -> None:
    """diffusers shows a ControlNet the latents alone; one of nine channels wants the mask, too."""
    prepare, forward = pipeline.prepare_mask_latents, pipeline.controlnet.forward
    rest: list[torch.Tensor] = []

    def prepared(*args: Any, **kwargs: Any) -> Any:
        rest[:] = prepare(*args, **kwargs)
        return tuple(rest)

    def shown(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return forward(torch.cat([sample, *rest], dim=1), *args, **kwargs)

    pipeline.prepare_mask_latents, pipeline.controlnet.forward = prepared, shown
