"""Times of a step and of whole pictures, ours beside diffusers'."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from benchmarks.gpu.bench import Bench, difference
from benchmarks.gpu.candidates import CANDIDATES, COMPILED
from benchmarks.gpu.clock import Work
from benchmarks.gpu.report import NOT_BEGUN, Row
from packshot_bench.failure import failure
from packshot_export.denoiser_graphs import ControlEmbedding, Step
from packshot_serving.engine import Engine, Policy, Runner, StepBatch


def steps(bench: Bench) -> Iterator[Row]:
    """A step of each size, in every way that needs no long compilation."""
    for rows in bench.models.sizes.rows:
        yield from _compared(bench, rows, CANDIDATES)


def compiled(bench: Bench) -> Iterator[Row]:
    """A step of some sizes in every way; what compilation took is in the rows."""
    for rows in bench.models.sizes.compiled_rows:
        yield from _compared(bench, rows, CANDIDATES | COMPILED)


def pictures(bench: Bench) -> Iterator[Row]:
    """Whole requests through our engine: parity with fp32, latency alone, and a catalogue's rate."""
    models = bench.models
    request, steps_of_one = models.request(0), models.sizes.steps
    reference, _ = _serve(bench, TorchRunner(models.step, models.device), [request], 1)
    fused, _ = _serve(bench, TorchRunner(models.fast_step, models.device), [request], 1)
    yield {"name": f"torch {models.precision}, latents", **difference(fused[0], reference[0])}
    runner = bench.onnx_runner
    found, _ = _serve(bench, runner, [request], 1)
    yield {"name": "onnxruntime, latents", **difference(found[0], reference[0])}
    flop = bench.flop_of_row * 2 * steps_of_one
    taken = [_serve(bench, runner, [models.request(seed)], 1)[1] for seed in range(bench.clock.samples)]
    ms = float(np.median(taken)) * 1e3
    row: Row = {"name": "a picture alone", "steps": steps_of_one, "ms": round(ms, 3), **bench.rated(flop, ms)}
    yield row | {"samples_ms": [round(each * 1e3, 3) for each in taken]}
    for slots in (rows // 2 for rows in models.sizes.rows[-2:]):
        count = 3 * slots
        requests = [models.request(seed) for seed in range(count)]
        _, seconds = _serve(bench, runner, requests, slots)
        row = {"name": "a catalogue", "slots": slots, "pictures": count, "seconds": round(seconds, 3)}
        yield row | {"images_per_s": round(count / seconds, 3), **bench.rated(flop * count, seconds * 1e3)}
    # What was recorded of one size must not have suffered from others.
    found, _ = _serve(bench, runner, [request], 1)
    yield {"name": "onnxruntime, latents, after other sizes", **difference(found[0], reference[0])}


class TorchRunner:
    """A step runner that computes in torch, for reference."""

    def __init__(self, step: Step, device: str) -> None:
        self._step, self._device = step, device
        self._control = ControlEmbedding(step.controlnets)

    def embed_control(self, control_image: np.ndarray) -> np.ndarray:
        """See :class:`StepRunner`."""
        with torch.no_grad():
            image = torch.from_numpy(control_image)[None].to(self._device)
            return self._control(image)["control_embedding"][0].cpu().numpy()

    def step(self, batch: StepBatch) -> np.ndarray:
        """See :class:`StepRunner`."""
        names = StepBatch.__dataclass_fields__
        with torch.no_grad():
            tensors = {name: torch.from_numpy(getattr(batch, name)).to(self._device) for name in names}
            return self._step(**tensors)["next_state"].cpu().numpy()


def _serve(bench: Bench, runner: Runner, requests: list, slots: int) -> tuple[list[np.ndarray], float]:
    """The latents of some requests, and seconds from the first one's arrival to the last one's end.

    They are served twice and timed the second time: an engine's thread records its own CUDA graphs.
    """
    answers: list[np.ndarray | Exception] = [RuntimeError("no answer")] * len(requests)
    left = threading.Semaphore(0)

    def done(number: int) -> Callable[[np.ndarray | Exception], None]:
        def keep(result: np.ndarray | Exception) -> None:
            answers[number] = result
            left.release()

        return keep

    with Engine(runner, bench.models.family, policy=Policy(slots, max_queue_size=1000)) as engine:
        seconds = 0.0
        for _ in range(2):
            began = time.perf_counter()
            for number, request in enumerate(requests):
                engine.submit(request, done(number))
            for _ in requests:
                left.acquire()
            seconds = time.perf_counter() - began
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return [answer for answer in answers if isinstance(answer, np.ndarray)], seconds


def _compared(bench: Bench, rows: int, ways: Mapping[str, Callable[[Bench, int], Work]]) -> Iterator[Row]:
    """Each way as soon as it is ready, so that no later one's compilation costs it its row; then in turns."""
    works: dict[str, Work] = {}
    flop = bench.flop_of_row * rows
    for name, prepare in ways.items():
        began = time.perf_counter()
        if bench.report.late:
            yield {"name": name, "rows": rows, "error": NOT_BEGUN}
            continue
        try:
            work = prepare(bench, rows)
            bench.clock.once(work)
            prepared_s = round(time.perf_counter() - began, 1)
            (row,) = bench.timed({name: work}, flop, rows=rows, in_turns=False)
        except Exception as error:  # noqa: BLE001 - one way less to compare
            yield {"name": name, "rows": rows, "error": failure(error)}
            continue
        works[name] = work
        yield row | {"prepared_s": prepared_s}
    yield from bench.timed(works, flop, rows=rows, in_turns=True)
