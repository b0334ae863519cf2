"""The same graphs in a plain loop of this process: no gRPC, no ensemble, no engine, no queue."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from packshot.contract import ARTIFACTS, TOKENIZER_FILE
from packshot.family import Manifest
from packshot_bench.job import Job
from packshot_bench.subjects import Painted
from packshot_serving.engine import DenoiseRequest, OnnxStepRunner
from packshot_serving.engine.batch_step import StepCache, advance
from packshot_serving.engine.preparation import Preparation


class OnnxLoop:
    """ONNX Runtime with the server's settings.

    Args:
        repository: whose graphs run.
    """

    name = "onnxruntime loop"

    def __init__(self, repository: Path) -> None:
        self._repository = repository

    def __enter__(self) -> OnnxLoop:
        repository = self._repository
        family = Manifest.read(repository).family
        self._tokenizer = Tokenizer.from_file(str(repository / TOKENIZER_FILE))
        names = ("text_encoder", "vae_encoder", "vae_decoder")
        self._text_encoder, self._encoder, self._decoder = (
            _session(repository / ARTIFACTS[name]) for name in names
        )
        self._runner = OnnxStepRunner((repository / ARTIFACTS["step"]).parent)
        self._preparation = Preparation(self._runner, family)
        self._controlnets = family.dims["K"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._text_encoder, self._encoder, self._decoder, self._runner, self._preparation

    def paint(self, job: Job) -> Painted:
        """The chain as plain calls."""
        clock = _Clock()
        prompts = [self._embeds(text) for text in (job.prompt, job.negative_prompt)]
        clock.lap("text")
        composition = job.composition
        pictures = {"image": composition.image[None], "mask_image": composition.mask_image[None]}
        masked, mask = self._encoder.run(["masked_image_latents", "mask_latents"], pictures)
        clock.lap("vae_encode")
        control = np.repeat(job.control_image[None], self._controlnets, axis=0)
        asked = DenoiseRequest(
            prompts[0], prompts[1], np.asarray(masked)[0], np.asarray(mask)[0], control, job.seed,
            parameters=job.parameters, latents=job.latents,
        )  # fmt: skip
        slot, cache = self._preparation.begin(asked, self._preparation.check(asked)), StepCache()
        while not slot.finished:
            advance(self._runner, [slot], cache)
        clock.lap("steps")
        image: Any = self._decoder.run(None, {"latents": slot.state[:1]})[0]
        clock.lap("vae_decode")
        return Painted(image[0], sum(clock.stages_s.values()), clock.stages_s)

    def _embeds(self, text: str) -> np.ndarray:
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        embeds: Any = self._text_encoder.run(None, {"input_ids": ids})[0]
        return embeds[0]


class _Clock:
    """Seconds from lap to lap."""

    def __init__(self) -> None:
        self.stages_s: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """A stage has ended."""
        now = time.perf_counter()
        self.stages_s[stage], self._last = now - self._last, now


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
