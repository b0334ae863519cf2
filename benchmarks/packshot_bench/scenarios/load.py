"""Many callers, as many as a loop has or as they come; packshot and whole-request batching in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    Painters take turns in blocks, A B B A, with the same jobs.

    Attributes:
        side: of the canvas in pixels.
        parameters: how to paint.
        callers: a case for each number.
        rounds: pictures of each caller in a block.
        blocks: of each case.
    """

    name = "concurrency"
    side: int = 256
    parameters: Parameters = _SHORT
    callers: tuple[int, ...] = (1, 2, 4, 8)
    rounds: int = 2
    blocks: int = 2

    def run(self, context: Context) -> Iterator[Row]:
        """A row for each number of callers and each painter: latencies, images a second, rows a step."""
        with started(context, self.side) as painters:
            yield from self.hold(context, painters)

    def hold(self, context: Context, painters: Sequence[Painter]) -> Iterator[Row]:
        """The same with painters that run already."""
        numbers = count(_WARM)
        for callers in self.callers:
            case = {"callers": callers, "num_inference_steps": self.parameters.num_inference_steps}
            loops = [_Loop(painter, context.probe) for painter in painters]
            for block in range(self.blocks):
                context.tell(f"{self.name}: {callers} callers, block {block + 1}/{self.blocks}")
                jobs = _jobs(context, self.side, [self.parameters], callers * self.rounds, numbers)
                for loop in _in_turn(loops, block):
                    loop.add(jobs, callers)
            yield from (loop.row(self.name, case) for loop in loops)


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
            loop = _Loop(painter, context.probe)
            loop.add(jobs, self.callers)
            yield loop.row(self.name, {**mixed, "load": "full"})
            if not loop.error:
                carrying.append(painter)
                rates.append(loop.images_per_s)
        for load in self.loads if carrying else ():
            loops = [_Loop(painter, context.probe) for painter in carrying]
            rate = load * min(rates)
            for block in range(self.blocks):
                context.tell(f"{self.name}: {load:.0%} of saturation, block {block + 1}/{self.blocks}")
                jobs = self._jobs(context, numbers)
                for loop in _in_turn(loops, block):
                    loop.add(jobs, _arrivals(jobs, rate))
            for loop in loops:
                yield from loop.rows(self.name, {**mixed, "load": load}, rate)

    def _jobs(self, context: Context, numbers: Iterator[int]) -> list[Job]:
        kinds = [Parameters(steps, guidance_scale=2.0) for steps in self.steps]
        return _jobs(context, self.side, kinds, self.requests, numbers)


@dataclass(frozen=True, slots=True)
class MixedSteps(OpenLoop):
    """The open loop with requests of 10 and of 50 steps among each other."""

    name = "mixed_steps"
    steps: tuple[int, ...] = (10, 50)
    loads: tuple[float, ...] = (0.8,)


#: So many callers, each with one job after the other; or seconds after the first at which each job comes.
_Pace = int | Sequence[float]


@dataclass(slots=True)
class _Loop:
    """What one painter has made of its blocks of jobs."""

    painter: Painter
    probe: Callable[[], float]
    samples_s: list[float] = field(default_factory=list)
    probe_s: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    work: Work = field(default_factory=Work)
    took_s: float = 0.0
    error: str | None = None

    def add(self, jobs: Sequence[Job], pace: _Pace) -> None:
        """Another block; none after one that has failed. The machine's speed is taken before and after it."""
        if self.error:
            return
        probed_s = self.probe()
        try:
            before = self.painter.work()
            samples, took_s = asyncio.run(_paint(self.painter, jobs, pace))
            self.work += self.painter.work() - before
        except PackshotError as error:
            self.error = f"{type(error).__name__}: {error}"
            return
        probed_s = (probed_s + self.probe()) / 2
        self.samples_s += samples
        self.probe_s += [probed_s] * len(samples)
        self.steps += [job.parameters.num_inference_steps for job in jobs]
        self.took_s += took_s

    @property
    def images_per_s(self) -> float:
        """Pictures a second; what a closed loop is for."""
        return len(self.samples_s) / self.took_s

    def row(self, scenario: str, case: Mapping[str, Any], arrivals_per_s: float | None = None) -> Row:
        """One of all requests."""
        if self.error:
            return Row(scenario, self.painter.name, case, error=self.error)
        rate = {"arrivals_per_s": arrivals_per_s} if arrivals_per_s else {"images_per_s": self.images_per_s}
        measures = {**rate, "rows_per_step": self.work.rows / self.work.steps}
        samples, probe = tuple(self.samples_s), tuple(self.probe_s)
        return Row(scenario, self.painter.name, case, samples, probe, measures=measures)

    def rows(self, scenario: str, case: Mapping[str, Any], arrivals_per_s: float) -> Iterator[Row]:
        """One of all requests; and if they are of several step counts, one of each."""
        yield self.row(scenario, case, arrivals_per_s)
        counts = sorted(set(self.steps))
        for of_steps in counts if len(counts) > 1 and not self.error else ():
            of_case = {**case, "of_steps": of_steps}
            samples, probe = (
                tuple(each for each, steps in zip(all_of_them, self.steps, strict=True) if steps == of_steps)
                for all_of_them in (self.samples_s, self.probe_s)
            )
            measures = {"arrivals_per_s": arrivals_per_s}
            yield Row(scenario, self.painter.name, of_case, samples, probe, measures=measures)


def _in_turn(loops: Sequence[_Loop], block: int) -> Sequence[_Loop]:
    """Who comes first in a block comes last in the next one."""
    return loops if block % 2 == 0 else loops[::-1]


@contextmanager
def started(context: Context, side: int) -> Iterator[list[Painter]]:
    """All painters, warm; those that are not asked wait, and take no processor time."""
    jobs = _jobs(context, side, [_SHORT], _WARM, count())
    with ExitStack() as stack:
        painters = [stack.enter_context(start(context.repository)) for start in PAINTERS]
        for painter in painters:
            asyncio.run(_paint(painter, jobs, 1))
        yield painters


def _jobs(
    context: Context, side: int, kinds: Sequence[Parameters], number: int, numbers: Iterator[int]
) -> list[Job]:
    """Jobs whose kinds take turns, of numbers that no other job has: no server has seen their prompts."""
    return [make_job(context.family, side, kinds[i % len(kinds)], next(numbers)) for i in range(number)]


def _arrivals(jobs: Sequence[Job], rate: float) -> Sequence[float]:
    """Poisson arrivals of so many a second on average; which ones, the first job decides."""
    pauses = np.random.default_rng(jobs[0].seed).exponential(1 / rate, len(jobs))
    return (np.cumsum(pauses) - pauses[0]).tolist()


async def _paint(painter: Painter, jobs: Sequence[Job], pace: _Pace) -> tuple[list[float], float]:
    """Seconds of each job, and of all together.

    Latencies count from a planned arrival: a caller that could not be sent has waited, too.
    """
    async with painter.connected() as paint:
        began = time.perf_counter()

        async def one(job: Job, at: float) -> float:
            await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
            await paint(job)
            return time.perf_counter() - began - at

        if not isinstance(pace, int):
            samples = await asyncio.gather(*(one(*each) for each in zip(jobs, pace, strict=True)))
            return samples, time.perf_counter() - began
        left, seconds = iter(enumerate(jobs)), [0.0] * len(jobs)

        async def caller() -> None:
            for number, job in left:
                seconds[number] = await one(job, time.perf_counter() - began)

        await asyncio.gather(*(caller() for _ in range(pace)))
        return seconds, time.perf_counter() - began
