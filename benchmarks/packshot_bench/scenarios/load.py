"""Many callers, as many as a loop has or as they come; packshot and whole-request batching in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from packshot import PackshotError, Parameters
from packshot_bench.context import Context
from packshot_bench.job import Job, make_job
from packshot_bench.results import Row
from packshot_bench.subjects.painters import PAINTERS, Painter, Work

#: Jobs that warm a server up, numbered from 0.
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
        """A row for each number of callers and each painter: latencies, images a second, rows a step."""
        with started(context, self.side) as painters:
            yield from self.hold(context, painters)

    def hold(self, context: Context, painters: Sequence[Painter]) -> Iterator[Row]:
        """The same with painters that run already."""
        numbers = count(_WARM)
        for callers in self.callers:
            case = {"callers": callers, "num_inference_steps": self.parameters.num_inference_steps}
            jobs = _jobs(context, self.side, [self.parameters], callers * self.rounds, numbers)
            for painter in painters:
                context.tell(f"{self.name}: {callers} callers, {painter.name}")
                yield _closed(painter, jobs, callers, self.name, case)


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Poisson arrivals at fractions of a saturated rate: the same jobs at the same times for every painter.

    Each painter's saturated rate is measured first, in the same run. The fractions are of the lowest:
    beyond its saturation a server's latencies grow for as long as one measures and compare with nothing,
    so the load is one that all of them can carry. That spares the slower one; by how much the faster
    carries more, the saturated rates themselves tell.

    Painters take turns in blocks, A B B A, each with arrivals of its own and an idle server to begin with.

    Attributes:
        side: of the canvas in pixels.
        steps: step counts, which take turns; one for equal requests.
        loads: a case for each fraction.
        requests: of each block.
        blocks: of each case.
        callers: of the closed loop that measures saturation.
    """

    name = "open_loop"
    side: int = 256
    steps: tuple[int, ...] = (10,)
    loads: tuple[float, ...] = (0.5, 0.8, 0.95)
    requests: int = 30
    blocks: int = 2
    callers: int = 8

    def run(self, context: Context) -> Iterator[Row]:
        """For each painter a row for its saturation, then one for each load, and one for each step count."""
        with started(context, self.side) as painters:
            yield from self.hold(context, painters)

    def hold(self, context: Context, painters: Sequence[Painter]) -> Iterator[Row]:
        """The same with painters that run already."""
        mixed, numbers = {"steps": "+".join(map(str, self.steps))}, count(_WARM)
        jobs, carrying, rates = self._jobs(context, numbers), [], []
        for painter in painters:
            context.tell(f"{self.name}: saturation of {painter.name}")
            row = _closed(painter, jobs, self.callers, self.name, {**mixed, "load": "full"})
            yield row
            if not row.error:
                carrying.append(painter)
                rates.append(row.measures["images_per_s"])
        for load in self.loads if carrying else ():
            loops = [_Loop(painter) for painter in carrying]
            for block in range(self.blocks):
                context.tell(f"{self.name}: {load:.0%} of saturation, block {block + 1}/{self.blocks}")
                jobs = self._jobs(context, numbers)
                arrivals = _arrivals(jobs, load * min(rates))
                for loop in loops if block % 2 == 0 else reversed(loops):
                    loop.add(arrivals)
            for loop in loops:
                measures = {"arrivals_per_s": load * min(rates)}
                yield from loop.rows(self.name, {**mixed, "load": load}, measures)

    def _jobs(self, context: Context, numbers: Iterator[int]) -> list[Job]:
        kinds = [Parameters(steps, guidance_scale=2.0) for steps in self.steps]
        return _jobs(context, self.side, kinds, self.requests, numbers)


@dataclass(frozen=True, slots=True)
class MixedSteps(OpenLoop):
    """The open loop with requests of 10 and of 50 steps among each other."""

    name = "mixed_steps"
    steps: tuple[int, ...] = (10, 50)
    loads: tuple[float, ...] = (0.8,)


#: Jobs, and when each of them comes: seconds since the first.
_Arrivals = Sequence[tuple[Job, float]]


@dataclass(slots=True)
class _Loop:
    """What one painter has made of its blocks of arrivals."""

    painter: Painter
    samples_s: list[tuple[int, float]] = field(default_factory=list)
    work: Work = field(default_factory=Work)
    error: str | None = None

    def add(self, arrivals: _Arrivals) -> None:
        """Another block; none after one that has failed."""
        if self.error:
            return
        try:
            before = self.painter.work()
            samples = asyncio.run(_paint_as_they_come(self.painter, arrivals))
            self.work += self.painter.work() - before
        except PackshotError as error:
            self.error = _told(error)
            return
        steps = (job.parameters.num_inference_steps for job, _ in arrivals)
        self.samples_s += zip(steps, samples, strict=True)

    def rows(self, scenario: str, case: Mapping[str, Any], measures: Mapping[str, float]) -> Iterator[Row]:
        """One of all requests; and if they are of several step counts, one of each."""
        name = self.painter.name
        if self.error:
            yield Row(scenario, name, case, error=self.error)
            return
        samples = tuple(sample for _, sample in self.samples_s)
        yield Row(scenario, name, case, samples, measures={**measures, **_rows_per_step(self.work)})
        counts = sorted({steps for steps, _ in self.samples_s})
        for of_steps in counts if len(counts) > 1 else ():
            mine = tuple(sample for steps, sample in self.samples_s if steps == of_steps)
            yield Row(scenario, name, {**case, "of_steps": of_steps}, mine, measures=measures)


@contextmanager
def started(context: Context, side: int) -> Iterator[list[Painter]]:
    """All painters, warm; those that are not asked wait, and take no processor time."""
    jobs = _jobs(context, side, [_SHORT], _WARM, count())
    with ExitStack() as stack:
        painters = [stack.enter_context(start(context.repository)) for start in PAINTERS]
        for painter in painters:
            asyncio.run(_paint_in_turn(painter, jobs, 1))
        yield painters


def _jobs(
    context: Context, side: int, kinds: Sequence[Parameters], number: int, numbers: Iterator[int]
) -> list[Job]:
    """Jobs whose kinds take turns, of numbers that no other job has: no server has seen their prompts."""
    return [make_job(context.family, side, kinds[i % len(kinds)], next(numbers)) for i in range(number)]


def _arrivals(jobs: Sequence[Job], rate: float) -> _Arrivals:
    """Poisson arrivals of so many a second on average; which ones, the first job decides."""
    pauses = np.random.default_rng(jobs[0].seed).exponential(1 / rate, len(jobs))
    return list(zip(jobs, (np.cumsum(pauses) - pauses[0]).tolist(), strict=True))


def _closed(
    painter: Painter, jobs: Sequence[Job], callers: int, scenario: str, case: Mapping[str, Any]
) -> Row:
    try:
        before = painter.work()
        samples, took_s = asyncio.run(_paint_in_turn(painter, jobs, callers))
        work = painter.work() - before
    except PackshotError as error:
        return Row(scenario, painter.name, case, error=_told(error))
    measures = {"images_per_s": len(jobs) / took_s, **_rows_per_step(work)}
    return Row(scenario, painter.name, case, tuple(samples), measures=measures)


async def _paint_in_turn(painter: Painter, jobs: Sequence[Job], callers: int) -> tuple[list[float], float]:
    """Seconds of each job, as so many callers take them one after the other, and of all together."""
    left = iter(jobs)
    async with painter.connected() as paint:

        async def one(job: Job) -> float:
            began = time.perf_counter()
            await paint(job)
            return time.perf_counter() - began

        async def caller() -> list[float]:
            return [await one(job) for job in left]

        began = time.perf_counter()
        told = await asyncio.gather(*(caller() for _ in range(callers)))
        took_s = time.perf_counter() - began
    return [each for mine in told for each in mine], took_s


async def _paint_as_they_come(painter: Painter, arrivals: _Arrivals) -> list[float]:
    """Latencies count from the planned arrival: a caller that could not be sent has waited, too."""
    async with painter.connected() as paint:
        began = time.perf_counter()

        async def arrival(job: Job, at: float) -> float:
            await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
            await paint(job)
            return time.perf_counter() - began - at

        return await asyncio.gather(*(arrival(*each) for each in arrivals))


def _rows_per_step(work: Work) -> dict[str, float]:
    return {"rows_per_step": work.rows / work.steps}


def _told(error: PackshotError) -> str:
    return f"{type(error).__name__}: {error}"
