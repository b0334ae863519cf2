"""The same graphs in a plain loop of this process: no gRPC, no ensemble, no engine, no queue."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from packshot.contract import ARTIFACTS, TOKENIZER_FILE
from packshot.errors import PackshotError
from packshot.family import Manifest
from packshot.parameters import Parameters
from packshot_bench.job import Job
from packshot_bench.subjects import Painted
from packshot_serving.engine import DenoiseRequest
from packshot_serving.engine.batch_step import StepCache, advance
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.slot import Slot


@dataclass(frozen=True, slots=True, eq=False)
class PaintedTogether:
    """Several pictures that began and ended together.

    Attributes:
        images: uint8 [B, H, W, 3], nothing pasted back.
        stages_s: seconds by stage, of all of them.
        steps: of the denoiser.
        rows: UNet rows in these steps.
    """

    images: np.ndarray
    stages_s: Mapping[str, float]
    steps: int
    rows: int


class OnnxLoop:
    """ONNX Runtime with the server's settings.

    Args:
        repository: whose graphs run.
    """

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
        arrays = {name: array[None] for name, array in job.arrays(self._controlnets).items()}
        together = self.paint_together(arrays, job.parameters)
        return Painted(together.images[0], sum(together.stages_s.values()), together.stages_s)

    def paint_together(self, arrays: Mapping[str, np.ndarray], parameters: Parameters) -> PaintedTogether:
        """The chain with several pictures, which begin and end together.

        Args:
            arrays: the inputs of ``generate``, each with a batch axis.
            parameters: of all of them; their tensors are not read.

        Raises:
            InvalidArgument: see :meth:`Preparation.check`.
            InternalError: a step failed.
        """
        clock = _Clock()
        prompts, negatives = (self._embeds(arrays[name]) for name in ("prompt", "negative_prompt"))
        clock.lap("text")
        pictures = {name: arrays[name] for name in ("image", "mask_image")}
        masked, mask = self._encoder.run(["masked_image_latents", "mask_latents"], pictures)
        clock.lap("vae_encode")
        tensors = (prompts, negatives, np.asarray(masked), np.asarray(mask), arrays["control_image"])
        slots = []
        for *each, seed, latents in zip(*tensors, arrays["seed"], arrays["latents"], strict=True):
            asked = DenoiseRequest(*each, seed.item(), latents, parameters=parameters)
            slots.append(self._preparation.begin(asked, self._preparation.check(asked)))
        steps, rows = self._denoise(slots)
        clock.lap("steps")
        images: Any = self._decoder.run(None, {"latents": np.stack([slot.sample() for slot in slots])})[0]
        clock.lap("vae_decode")
        return PaintedTogether(images, clock.stages_s, steps, rows)

    def _denoise(self, slots: Sequence[Slot]) -> tuple[int, int]:
        """Steps and rows that it took."""
        cache, steps, rows = StepCache(), 0, 0
        while not slots[0].finished:
            taken = advance(self._runner, slots, cache)
            for outcome in taken.outcomes:
                if isinstance(outcome.result, PackshotError):
                    raise outcome.result
            steps, rows = steps + 1, rows + taken.rows
        return steps, rows

    def _embeds(self, texts: np.ndarray) -> np.ndarray:
        """Of BYTES [B, 1], float32 [B, T, D]."""
        ids = [self._tokenizer.encode(text.decode()).ids for text in texts[:, 0]]
        embeds: Any = self._text_encoder.run(None, {"input_ids": np.array(ids, np.int64)})[0]
        return embeds


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
