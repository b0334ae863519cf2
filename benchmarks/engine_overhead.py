"""What a step costs besides the runner: the engine's own time at 8 slots of the default family.

``python -m benchmarks.engine_overhead [--output FILE]``. The runner answers at once, so all that is
measured is everything between two steps: planning, building the batch, checking the result, moving
the slots on, reporting and answering.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from packshot.family import Canvas, Family
from packshot.parameters import Parameters
from packshot_bench.machine import describe
from packshot_serving.engine import DenoiseRequest, Engine, Policy, StepBatch

TARGET_MS = 0.25
#: The default family's numbers; what it is made of plays no part here.
DIMS = {"C": 4, "T": 77, "D": 64, "K": 1, "G": 32, "S": 256, "s": 16, "E": 64, "4s": 64}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
             "clip_sample": False, "set_alpha_to_one": False}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overhead:
    """The engine's own milliseconds a step, over all steps of full batches.

    Attributes:
        name: what was measured.
        slots: that step together.
        side: of the canvas in pixels.
        steps: measured.
        median_ms: and the other percentiles, from one step's end to the next one's beginning.
        samples_ms: every hundredth of the distribution.
    """

    name: str
    slots: int
    side: int
    steps: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    samples_ms: tuple[float, ...]


class InstantRunner:
    """Answers every step with the state that it was given, and times the engine from step to step.

    Attributes:
        slots: steps of so many count.
        seconds: from each of these steps' end to the next one's beginning.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.seconds: list[float] = []
        self._last_ended: float | None = None

    def embed_control(self, control_image: np.ndarray) -> np.ndarray:
        """Zeros of the right shape."""
        count, height, width = control_image.shape
        return np.zeros((count, DIMS["G"], height // 8, width // 8), np.float32)

    def step(self, batch: StepBatch) -> np.ndarray:
        """The same state."""
        full = batch.num_slots == self.slots
        if full and self._last_ended is not None:
            self.seconds.append(time.perf_counter() - self._last_ended)
        self._last_ended = time.perf_counter() if full else None
        return batch.state


def measure(name: str, side: int, requests: int, policy: Policy) -> Overhead:
    """Serve some requests of a square canvas with many slots and an instant runner."""
    family = Family("default", "fp32", DIMS, Canvas(max_side=1024), SCHEDULER)
    runner, left = InstantRunner(policy.batch_limit(policy.max_slots)), threading.Semaphore(0)
    with Engine(runner, family, policy=policy) as engine:
        for seed in range(requests):
            engine.submit(_request(seed, side), lambda result: left.release())
        for _ in range(requests):
            left.acquire()
    taken = np.array(runner.seconds) * 1e3
    median, p90, p99 = np.percentile(taken, [50, 90, 99]).round(4).tolist()
    samples = tuple(np.quantile(taken, np.linspace(0, 1, 101)).round(4).tolist())
    return Overhead(name, runner.slots, side, len(taken), median, p90, p99, samples)


def _request(seed: int, side: int) -> DenoiseRequest:
    text = np.zeros((DIMS["T"], DIMS["D"]), np.float32)
    latent = side // 8
    return DenoiseRequest(
        prompt_embeds=text,
        negative_prompt_embeds=text,
        masked_image_latents=np.zeros((DIMS["C"], latent, latent), np.float32),
        mask_latents=np.ones((1, latent, latent), np.float32),
        control_image=np.zeros((DIMS["K"], side, side), np.uint8),
        seed=seed,
        parameters=Parameters(num_inference_steps=200),
    )


def main() -> None:
    """Measure, print, and fail if the target is missed at the default canvas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    parser.add_argument("--requests", type=int, default=80)
    options = parser.parse_args()
    pausing = Policy(max_slots=24, max_queue_size=1000, max_batch=8, step_s=0.01, full_step_s=0.04)
    overheads = [
        measure("8 slots", 256, options.requests, Policy(8, max_queue_size=1000)),
        measure("8 of 24 slots, the others pause", 256, options.requests, pausing),
        measure("8 slots", 512, options.requests, Policy(8, max_queue_size=1000)),
    ]
    for overhead in overheads:
        sys.stdout.write(
            f"{overhead.name}, {overhead.side} px: median {overhead.median_ms:.3f} ms, "
            f"p90 {overhead.p90_ms:.3f} ms over {overhead.steps} steps\n"
        )
    if options.output:
        result = {"target_ms": TARGET_MS, **describe("numpy"), "overheads": [asdict(o) for o in overheads]}
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    if overheads[0].median_ms > TARGET_MS:
        sys.exit(f"median {overheads[0].median_ms} ms, expected at most {TARGET_MS} ms")


if __name__ == "__main__":
    main()
