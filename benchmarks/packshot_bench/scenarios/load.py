"""Many callers: as many as a closed loop has, or as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from packshot import AsyncStudio, Options, PackshotError, Parameters
from packshot_bench.context import Context
from packshot_bench.job import Job, make_job
from packshot_bench.results import Row
from packshot_serving.launcher import TritonServer

#: Pictures that warm a server up.
_WARM = 2
_SHORT = Parameters(10, guidance_scale=2.0)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """A closed loop: so many callers, each with one picture in work at any time.

    Attributes:
        side: of the canvas in pixels.
        parameters: how to paint.
        callers: a case for each number.
        rounds: pictures of each caller.
    """

    name = "concurrency"
    side: int = 256
    parameters: Parameters = _SHORT
    callers: tuple[int, ...] = (1, 2, 4, 8)
    rounds: int = 3

    def run(self, context: Context) -> Iterator[Row]:
        """A row for each number of callers: latencies, and images a second."""
        with TritonServer(context.repository) as server:
            for callers in self.callers:
                context.tell(f"{self.name}: {callers} callers")
                jobs = [
                    make_job(context.family, self.side, self.parameters, number)
                    for number in range(callers * self.rounds)
                ]
                case = {"callers": callers, "num_inference_steps": self.parameters.num_inference_steps}
                yield asyncio.run(_closed(server.grpc_address, jobs, callers, self.name, case))


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Poisson arrivals at fractions of the saturated rate, which is measured first, in the same run.

    Attributes:
        side: of the canvas in pixels.
        steps: step counts, which take turns; one for equal requests.
        loads: a case for each fraction.
        requests: of each case.
        callers: of the closed loop that measures saturation.
    """

    name = "open_loop"
    side: int = 256
    steps: tuple[int, ...] = (10,)
    loads: tuple[float, ...] = (0.5, 0.8, 0.95)
    requests: int = 30
    callers: int = 8

    def run(self, context: Context) -> Iterator[Row]:
        """A row for the saturation, then one for each load, and one for each step count in it."""
        kinds = [Parameters(steps, guidance_scale=2.0) for steps in self.steps]
        jobs = [
            make_job(context.family, self.side, kinds[number % len(kinds)], number)
            for number in range(self.requests)
        ]
        with TritonServer(context.repository) as server:
            context.tell(f"{self.name}: saturation")
            mixed = {"steps": "+".join(map(str, self.steps))}
            full = asyncio.run(
                _closed(server.grpc_address, jobs, self.callers, self.name, {**mixed, "load": "full"})
            )
            yield full
            if full.error:
                return
            for load in self.loads:
                context.tell(f"{self.name}: {load:.0%} of saturation")
                rate = load * full.measures["images_per_s"]
                case = {**mixed, "load": load}
                yield from asyncio.run(_open(server.grpc_address, jobs, rate, self.name, case))


@dataclass(frozen=True, slots=True)
class MixedSteps(OpenLoop):
    """The open loop with requests of 10 and of 50 steps among each other."""

    name = "mixed_steps"
    steps: tuple[int, ...] = (10, 50)
    loads: tuple[float, ...] = (0.8,)


async def _closed(server: str, jobs: Sequence[Job], callers: int, name: str, case: Mapping[str, Any]) -> Row:
    async with AsyncStudio(server, Options(max_in_flight=callers)) as studio:
        try:
            for job in jobs[:_WARM]:
                await _paint(studio, job)
            left = iter(jobs)
            began = time.perf_counter()

            async def caller() -> list[float]:
                return [await _paint(studio, job) for job in left]

            told = await asyncio.gather(*(caller() for _ in range(callers)))
        except PackshotError as error:
            return Row(name, "packshot", case, error=f"{type(error).__name__}: {error}")
    rate = len(jobs) / (time.perf_counter() - began)
    samples = tuple(each for mine in told for each in mine)
    return Row(name, "packshot", case, samples, measures={"images_per_s": rate})


async def _open(
    server: str, jobs: Sequence[Job], rate: float, name: str, case: Mapping[str, Any]
) -> list[Row]:
    """Latencies count from the planned arrival: a caller that could not be sent has waited, too."""
    pauses = np.random.default_rng(len(jobs)).exponential(1 / rate, len(jobs))
    planned = np.cumsum(pauses) - pauses[0]
    async with AsyncStudio(server, Options(max_in_flight=len(jobs))) as studio:
        began = time.perf_counter()

        async def arrival(job: Job, at: float) -> float:
            await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
            await _paint(studio, job)
            return time.perf_counter() - began - at

        try:
            samples = await asyncio.gather(*map(arrival, jobs, planned))
        except PackshotError as error:
            return [Row(name, "packshot", case, error=f"{type(error).__name__}: {error}")]
    measures = {"arrivals_per_s": rate}
    rows = [Row(name, "packshot", case, tuple(samples), measures=measures)]
    counts = [job.parameters.num_inference_steps for job in jobs]
    for steps in sorted(set(counts)) if len(set(counts)) > 1 else ():
        mine = [sample for sample, count in zip(samples, counts, strict=True) if count == steps]
        rows.append(Row(name, "packshot", {**case, "of_steps": steps}, tuple(mine), measures=measures))
    return rows


async def _paint(studio: AsyncStudio, job: Job) -> float:
    began = time.perf_counter()
    composition = job.composition
    await studio.generate(
        composition.image, composition.mask_image, job.control_image, job.prompt, job.negative_prompt,
        seed=job.seed, parameters=job.parameters, latents=job.latents,
    )  # fmt: skip
    return time.perf_counter() - began
