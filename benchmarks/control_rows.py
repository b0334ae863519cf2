"""What a step costs with ControlNet work on none, half and all of its rows, on ONNX Runtime's CPU.

``python -m benchmarks.control_rows [--repository DIR] [--output FILE]``. ``before`` is what the graph
would do without its index of rows: the ControlNets work on every row, and the weights of 0 are
multiplied in. Both run in turn, in one process, on the same inputs; their answers are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from packshot.contract import ARTIFACTS
from packshot.family import Family, Manifest
from packshot.parameters import Parameters
from packshot_bench.machine import describe
from packshot_serving.engine import DenoiseRequest, StepBatch
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.slot import build_batch


@dataclass(frozen=True, slots=True)
class Comparison:
    """A batch of guided slots, with and without the economy.

    Attributes:
        slots: in the batch, two rows each.
        controlled_slots: of these, slots on which the ControlNets weigh anything.
        side: of the canvas in pixels.
        before_ms: median of a step with ControlNet work on every row.
        after_ms: median of a step with ControlNet work where it is needed.
        ratio: median of after over before, of pairs that ran one after the other.
        difference: greatest of the two answers, as a share of the greatest magnitude.
        samples_ms: before and after, pair by pair.
    """

    slots: int
    controlled_slots: int
    side: int
    before_ms: float
    after_ms: float
    ratio: float
    difference: float
    samples_ms: tuple[tuple[float, float], ...]


def compare(
    runner: OnnxStepRunner, family: Family, side: int, count: int, controlled: int, pairs: int
) -> Comparison:
    """Time ``pairs`` steps each way after one to warm up."""
    preparation = Preparation(runner, family)
    requests = [request(family, side, seed, 0.5 if seed < controlled else 0.0) for seed in range(count)]
    slots = [preparation.begin(each, preparation.check(each)) for each in requests]
    after = build_batch(slots)
    everywhere = {"control_row": np.arange(after.num_rows), "row_residual": np.arange(1, after.num_rows + 1)}
    before = replace(after, **everywhere)
    expected, found = runner.step(before), runner.step(after)
    samples = np.array([(_time(runner, before), _time(runner, after)) for _ in range(pairs)])
    before_ms, after_ms = np.median(samples, axis=0).round(2).tolist()
    ratio = round(float(np.median(samples[:, 1] / samples[:, 0])), 3)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    pairs_ms = tuple((b, a) for b, a in samples.round(2).tolist())
    return Comparison(count, controlled, side, before_ms, after_ms, ratio, difference, pairs_ms)


def _time(runner: OnnxStepRunner, batch: StepBatch) -> float:
    began = time.perf_counter()
    runner.step(batch)
    return (time.perf_counter() - began) * 1e3


def request(family: Family, side: int, seed: int, scale: float) -> DenoiseRequest:
    """A guided request of random inputs; ``scale`` is what the ControlNets weigh."""
    dims, latent = family.dims, side // family.canvas.multiple
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    return DenoiseRequest(
        prompt_embeds=normal(dims["T"], dims["D"]),
        negative_prompt_embeds=normal(dims["T"], dims["D"]),
        masked_image_latents=normal(dims["C"], latent, latent),
        mask_latents=np.ones((1, latent, latent), np.float32),
        control_image=(random.random((dims["K"], side, side)) > 0.9).astype(np.uint8) * 255,
        seed=seed,
        parameters=Parameters(controlnet_conditioning_scale=scale),
    )


def main() -> None:
    """Measure, print, and fail if the answers differ by more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    family = Manifest.read(options.repository).family
    runner = OnnxStepRunner((options.repository / ARTIFACTS["step"]).parent)
    comparisons = []
    for slots, controlled in ((1, 0), (1, 1), (4, 0), (4, 2), (4, 4)):
        found = compare(runner, family, options.side, slots, controlled, options.pairs)
        comparisons.append(found)
        sys.stdout.write(
            f"{controlled} of {slots} slots controlled, {found.side} px: {found.before_ms} → "
            f"{found.after_ms} ms, ratio {found.ratio}, difference {found.difference:.1e}\n"
        )
    if options.output:
        machine = {"family": family.name, **describe("onnxruntime")}
        result = {**machine, "comparisons": [asdict(one) for one in comparisons]}
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    worst = max(one.difference for one in comparisons)
    if worst > 1e-5:
        sys.exit(f"the answers differ by {worst}, expected at most 1e-5")


if __name__ == "__main__":
    main()
