"""Many callers, as many as a loop has or as they come; packshot and whole-request batching in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from packshot import PackshotError, Parameters
from packshot_bench.context import Context
from packshot_bench.failure import failure
from packshot_bench.job import Job, make_job
from packshot_bench.probe import Probe
from packshot_bench.results import Row, until_it_breaks
from packshot_bench.subjects.painters import PAINTERS, Painter, Work

#: Jobs that warm a server up, numbered from 0; and how far the numbers of two rounds lie apart. In
#: between, each scenario has its own, as others may have asked the same servers.
_WARM, _APART = 1, 10_000
_SHORT = Parameters(10, guidance_scale=2.0)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """A closed loop: so many callers, each with one picture in work at any time.

    Painters take turns with the same jobs.

    Attributes:
        side: of the canvas in pixels.
        parameters: how to paint.
        callers: a case for each number; four are what the open loop measures saturation with.
        pictures: of each caller in a round.
        first_job: number of the round's first job.
    """

    name, first_job = "concurrency", _WARM
    once = False
    side: int = 256
    parameters: Parameters = _SHORT
    callers: tuple[int, ...] = (1,)
    pictures: int = 2

    def run(self, context: Context) -> Iterator[Row]:
        """A row for each number of callers and each painter: latencies, images a second, rows a step."""
        with started(context, self.side) as painters:
            yield from self.hold(context, painters)

    def hold(self, context: Context, painters: Sequence[Painter]) -> Iterator[Row]:
        """The same with painters that run already."""
        numbers = _numbers(context, self.first_job)
        for callers in self.callers:
            case = {"callers": callers, "num_inference_steps": self.parameters.num_inference_steps}
            jobs = _jobs(context, self.side, [self.parameters], callers * self.pictures, numbers)
            for painter in context.in_turn(painters):
                context.tell(f"{self.name}: {callers} callers, {painter.name}")
                yield _block(painter, jobs, callers, context.probe).row(self.name, case)


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Poisson arrivals at fractions of a saturated rate: the same jobs at the same times for every painter.

    Each painter's saturated rate is measured first, in the same round, in a closed loop of two jobs for each
    caller. The fractions are of the lowest: beyond its saturation a server's latencies grow for as long as
    one measures and compare with nothing, so the load is one that all of them can carry. That spares the
    slower one; by how much the faster carries more, the saturated rates themselves tell.

    Painters take turns. Each round has arrivals of its own; its loads have the same ones, closer together.

    Attributes:
        side: of the canvas in pixels.
        steps: step counts, which take turns; one for equal requests.
        loads: a case for each fraction.
        requests: at each load in a round.
        callers: of the closed loop that measures saturation.
        first_job: number of the round's first job.
    """

    name, first_job = "open_loop", 1000
    once = False
    side: int = 256
    steps: tuple[int, ...] = (10,)
    loads: tuple[float, ...] = (0.8,)
    requests: int = 8
    callers: int = 4

    def run(self, context: Context) -> Iterator[Row]:
        """For each painter a row for its saturation, then for each load one for each step count."""
        with started(context, self.side) as painters:
            yield from self.hold(context, painters)

    def hold(self, context: Context, painters: Sequence[Painter]) -> Iterator[Row]:
        """The same with painters that run already."""
        case = {"steps": "+".join(map(str, self.steps))}
        numbers = _numbers(context, self.first_job)
        jobs, rates = self._jobs(context, 2 * self.callers, numbers), []
        for painter in context.in_turn(painters):
            context.tell(f"{self.name}: saturation of {painter.name}")
            block = _block(painter, jobs, self.callers, context.probe)
            yield block.row(self.name, {**case, "callers": self.callers})
            if not block.error:
                rates.append(block.images_per_s)
        moments = poisson(self.requests, context.round)
        for load in self.loads:
            of_load = {**case, "requests": self.requests, "load": load}
            if len(rates) < len(painters):
                # At the rate of those that are left it would be another load.
                for painter in painters:
                    missing = _Block(painter.name, error="no saturated rate of all of them")
                    yield from missing.rows(self.name, of_load, self.steps)
                continue
            rate, jobs = load * min(rates), self._jobs(context, self.requests, numbers)
            arrivals = [at / rate for at in moments]
            for painter in context.in_turn(painters):
                context.tell(f"{self.name}: {load:.0%} of saturation, {painter.name}")
                block = _block(painter, jobs, arrivals, context.probe)
                yield from block.rows(self.name, of_load, self.steps, rate)

    def _jobs(self, context: Context, number: int, numbers: Iterator[int]) -> list[Job]:
        kinds = [Parameters(steps, guidance_scale=2.0) for steps in self.steps]
        return _jobs(context, self.side, kinds, number, numbers)


@dataclass(frozen=True, slots=True)
class MixedSteps(OpenLoop):
    """The open loop with requests of 10 and of 50 steps among each other."""

    name, first_job = "mixed_steps", 2000
    steps: tuple[int, ...] = (10, 50)
    requests: int = 4


@dataclass(frozen=True, slots=True)
class Load:
    """All of the above on the same servers, which take a while to start.

    Attributes:
        parts: one after the other.
    """

    name = "load"
    once = False
    parts: tuple[Concurrency | OpenLoop, ...] = (Concurrency(), OpenLoop(), MixedSteps())

    def run(self, context: Context) -> Iterator[Row]:
        """The rows of all parts; one that breaks off costs no other its rows."""
        with started(context, self.parts[0].side) as painters:
            for part in self.parts:
                yield from until_it_breaks(part.name, part.hold(context, painters))


#: So many callers, each with one job after the other; or seconds after the first at which each job comes.
_Pace = int | Sequence[float]


@dataclass(frozen=True, slots=True)
class _Block:
    """What one painter has made of some jobs."""

    painter: str
    samples_s: tuple[float, ...] = ()
    probe_s: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    work: Work = Work()  # noqa: RUF009 (frozen)
    took_s: float = 0.0
    error: str | None = None

    @property
    def images_per_s(self) -> float:
        """Pictures a second; what a closed loop is for."""
        return len(self.samples_s) / self.took_s

    def row(self, scenario: str, case: Mapping[str, Any], arrivals_per_s: float | None = None) -> Row:
        """One of all requests."""
        if self.error:
            return Row(scenario, self.painter, case, error=self.error)
        rate = {"arrivals_per_s": arrivals_per_s} if arrivals_per_s else {"images_per_s": self.images_per_s}
        measures = {**rate, "rows_per_step": self.work.rows / self.work.steps}
        return Row(scenario, self.painter, case, self.samples_s, self.probe_s, measures=measures)

    def rows(
        self,
        scenario: str,
        case: Mapping[str, Any],
        kinds: Sequence[int],
        arrivals_per_s: float | None = None,
    ) -> Iterator[Row]:
        """One of all requests; if they are of several step counts, one of each instead: what lies between
        short and long ones is the time of none."""
        whole = self.row(scenario, case, arrivals_per_s)
        if len(kinds) == 1:
            yield whole
            return
        for of_steps in kinds:
            chosen = [place for place, steps in enumerate(self.steps) if steps == of_steps]
            yield replace(
                whole,
                case={**case, "of_steps": of_steps},
                samples_s=tuple(self.samples_s[place] for place in chosen),
                probe_s=tuple(self.probe_s[place] for place in chosen),
                rounds=(),
            )


def _block(painter: Painter, jobs: Sequence[Job], pace: _Pace, probe: Probe) -> _Block:
    """Jobs at a pace, with the machine's speed before and after them."""
    probed_s = probe()
    try:
        before = painter.work()
        samples, took_s = asyncio.run(_paint(painter, jobs, pace))
        work = painter.work() - before
    except PackshotError as error:
        return _Block(painter.name, error=failure(error))
    probed_s = (probed_s + probe()) / 2
    steps = tuple(job.parameters.num_inference_steps for job in jobs)
    return _Block(painter.name, tuple(samples), (probed_s,) * len(samples), steps, work, took_s)


@contextmanager
def started(context: Context, side: int) -> Iterator[list[Painter]]:
    """All painters, warm; those that are not asked wait, and take no processor time."""
    jobs = _jobs(context, side, [_SHORT], _WARM, count())
    with ExitStack() as stack:
        painters = [stack.enter_context(start(context.repository)) for start in PAINTERS]
        for painter in painters:
            asyncio.run(_paint(painter, jobs, 1))
        yield painters


def _numbers(context: Context, first: int) -> Iterator[int]:
    """Of a round's jobs."""
    return count(first + context.round * _APART)


def _jobs(
    context: Context, side: int, kinds: Sequence[Parameters], number: int, numbers: Iterator[int]
) -> list[Job]:
    """Jobs whose kinds take turns, of numbers that no other job has: no server has seen their prompts."""
    return [make_job(context.family, side, kinds[i % len(kinds)], next(numbers)) for i in range(number)]


def poisson(arrivals: int, seed: int) -> Sequence[float]:
    """Moments of Poisson arrivals, from 0, with pauses of 1 on average.

    Of a Poisson process between its first and its last arrival: each of the others comes at any moment with
    equal probability. So every round has the load that it is said to have.
    """
    last = arrivals - 1
    between = np.random.default_rng(seed).uniform(0, last, max(0, arrivals - 2))
    return [0.0, *np.sort(between).tolist(), float(last)][:arrivals]


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
