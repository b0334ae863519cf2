"""packshot: one call of a running server."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tritonclient.grpc import InferenceServerClient

from packshot import Studio
from packshot_bench.job import Job
from packshot_bench.subjects import Painted
from packshot_bench.subjects.figures import figures
from packshot_serving.launcher import TritonServer
from packshot_serving.readiness import CHANNEL_OPTIONS

#: The models inside ``generate``, and the stage that each is.
_STAGES = {
    "tokenizer": "text", "text_encoder": "text", "vae_encoder": "vae_encode", "vae_decoder": "vae_decode",
}  # fmt: skip
_STEPS, _STEP_SECONDS = "packshot_denoiser_steps_total", "packshot_denoiser_step_seconds_total"


class Served:
    """packshot's server and client.

    Args:
        repository: to serve.
        bf16: with steps in bfloat16.
    """

    def __init__(self, repository: Path, bf16: bool = False) -> None:
        self._server = TritonServer(repository, bf16=bf16, drain=False)

    def __enter__(self) -> Served:
        self._server.__enter__()
        self._studio = Studio(self._server.grpc_address)
        self._client = InferenceServerClient(self._server.grpc_address, channel_args=CHANNEL_OPTIONS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._studio.close()
        self._server.__exit__(kind, error, trace)

    def paint(self, job: Job) -> Painted:
        """One request through client, gRPC and ensemble.

        Stages are the server's own figures: Triton's of each model and its queue, the denoiser's of its
        steps. What is left of the client's time is ``network``: serialising, gRPC, ensemble.
        """
        before, stepped = self._spent(), self._steps()
        composition = job.composition
        began = time.perf_counter()
        image = self._studio.generate(
            composition.image, composition.mask_image, job.control_image, job.prompt, job.negative_prompt,
            seed=job.seed, parameters=job.parameters, latents=job.latents,
        )  # fmt: skip
        took = time.perf_counter() - began
        after = self._spent()
        stages = {stage: after[stage] - before[stage] for stage in after}
        stages["steps"] = self._steps(more_than=stepped[0])[1] - stepped[1]
        return Painted(image, took, {**stages, "network": max(0.0, took - sum(stages.values()))})

    def _spent(self) -> dict[str, float]:
        """Seconds that each stage but the steps has taken since the server began."""
        statistics: Any = self._client.get_inference_statistics(as_json=True)
        spent = dict.fromkeys((*_STAGES.values(), "queue"), 0.0)
        for model in statistics["model_stats"]:
            stage = _STAGES.get(model["name"])
            if stage is None:
                continue
            told = model.get("inference_stats", {})
            seconds = {what: int(told.get(what, {}).get("ns", 0)) / 1e9 for what in ("success", "queue")}
            spent[stage] += seconds["success"] - seconds["queue"]
            spent["queue"] += seconds["queue"]
        return spent

    def _steps(self, more_than: float = -1.0) -> tuple[float, float]:
        """Steps taken and seconds in them, once there are more than so many."""
        told = figures(self._server.metrics_address, lambda told: told[_STEPS] > more_than)
        return told[_STEPS], told[_STEP_SECONDS]
