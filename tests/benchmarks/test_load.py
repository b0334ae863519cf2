"""Load on real servers of both kinds; and on painters that keep a diary, to see what comes when."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient

from packshot import Parameters, Unavailable
from packshot_bench.job import make_job
from packshot_bench.results import WHOLE, Report
from packshot_bench.scenarios.load import Concurrency, Load, MixedSteps, OpenLoop, poisson, started
from packshot_bench.subjects.figures import figures
from packshot_bench.subjects.painters import MODEL, Work
from tests.benchmarks.test_results import ENVIRONMENT
from tests.integration.generations import PICTURE_TOLERANCE

SIDE = 64
MIXED = MixedSteps(side=SIDE, steps=(2, 5), requests=6, callers=2)


@pytest.fixture(scope="module")
def painters(context):
    with started(context, SIDE) as both:
        yield both


def jobs_of(context, steps):
    return [
        make_job(context.family, SIDE, Parameters(count, guidance_scale=2.0), 100 + number)
        for number, count in enumerate(steps)
    ]


def distance(a, b) -> int:
    return int(np.abs(a.astype(int) - b).max())


def batches(painter) -> Counter[int]:
    """How many batches of each size the whole-request server has worked on."""
    with InferenceServerClient(painter.server.grpc_address) as client:
        (statistics,) = client.get_inference_statistics(MODEL).model_stats
    return Counter({batch.batch_size: batch.compute_infer.count for batch in statistics.batch_stats})


async def behind(painter, long, jobs) -> list[np.ndarray]:
    """The jobs' pictures; they come together, while the server is busy with a long one."""
    async with painter.connected() as paint:
        first = asyncio.create_task(paint(long))
        await asyncio.sleep(0.3)
        images = await asyncio.gather(*map(paint, jobs))
        await first
    return images


def test_a_batch_of_different_steps_is_painted_in_groups_and_as_packshot_paints_it(context, painters):
    long, *mixed = jobs_of(context, [200, 3, 7, 3, 7])
    packshot, whole = painters
    before, batches_before = whole.work(), batches(whole)
    images, expected = (asyncio.run(behind(painter, long, mixed)) for painter in (whole, packshot))
    assert batches(whole) - batches_before == {1: 1, 4: 1}
    # Of each group all rows together, two for each guided picture.
    assert whole.work() - before == Work(200 + 3 + 7, 2 * 200 + 4 * 3 + 4 * 7)
    for image, other in zip(images, expected, strict=True):
        assert distance(image, other) <= PICTURE_TOLERANCE
    for number, image in enumerate(images):
        assert all(distance(image, other) > 2 * PICTURE_TOLERANCE for other in expected[:number])


def test_both_servers_are_held_against_each_other_in_rows_of_the_schema(context, painters, tmp_path):
    rows = list(MIXED.hold(context, painters))
    Report(ENVIRONMENT, tuple(rows)).write(tmp_path / "run.json")
    by_subject = {p.name: [row for row in rows if row.subject == p.name] for p in painters}
    load = {"requests": 6, "load": 0.8}
    cases = [{"callers": 2}, {**load, "of_steps": 2}, {**load, "of_steps": 5}]
    for mine in by_subject.values():
        assert [row.case for row in mine] == [{"steps": "2+5", **case} for case in cases]
        assert [len(row.samples_s) for row in mine] == [4, 3, 3]
        assert all(2 <= row.measures["rows_per_step"] <= 2 * MIXED.requests for row in mine)
    first, second = by_subject.values()
    assert first[1].measures["arrivals_per_s"] == second[1].measures["arrivals_per_s"]


class Diary:
    """A painter that only notes what it is asked, and takes its time."""

    def __init__(self, name, seconds, book, fails_at=None):
        self.name, self.seconds, self.book, self.fails_at = name, seconds, book, fails_at

    @asynccontextmanager
    async def connected(self):
        self.book.append((self.name, []))

        async def paint(job):
            self.book[-1][1].append((job.seed, job.parameters.num_inference_steps))
            if self.fails_at == len(self.book):
                raise Unavailable("full")
            await asyncio.sleep(self.seconds)

        yield paint

    def work(self):
        asked = sum(len(jobs) for name, jobs in self.book if name == self.name)
        return Work(asked, 2 * asked)


def test_painters_take_turns_with_the_same_jobs_which_no_other_block_has(context):
    book = []
    diaries = [Diary("a", 0.001, book), Diary("b", 0.01, book)]
    rows = list(MIXED.hold(context, diaries))
    list(MIXED.hold(replace(context, round=1), diaries))
    assert [name for name, _ in book] == ["a", "b", "a", "b", "b", "a", "b", "a"]
    # In the order they were made in: jobs that come at almost the same time may overtake each other.
    blocks = [sorted(jobs) for _, jobs in book]
    pairs = list(zip(blocks[::2], blocks[1::2], strict=True))
    assert all(first == second for first, second in pairs)
    assert len({seed for jobs, _ in pairs for seed, _ in jobs}) == 2 * (2 * MIXED.callers + MIXED.requests)
    assert [steps for _, steps in pairs[1][0]] == [2, 5, 2, 5, 2, 5]
    full = {row.subject: row.measures["images_per_s"] for row in rows if "callers" in row.case}
    assert full["b"] < full["a"]
    load = [row for row in rows if "load" in row.case]
    assert {row.measures["arrivals_per_s"] for row in load} == {0.8 * full["b"]}


def test_one_that_fails_is_a_row_and_the_other_goes_on(context):
    book = []
    failing = Diary("a", 0.0, book, fails_at=3)
    loop = OpenLoop(side=SIDE, loads=(0.5,), requests=3)
    rows = list(loop.hold(context, [failing, Diary("b", 0.001, book)]))
    assert [(row.subject, row.error) for row in rows] == [
        ("a", None), ("b", None), ("a", "Unavailable: full"), ("b", None),
    ]  # fmt: skip
    assert len(rows[-1].samples_s) == loop.requests


def test_a_server_that_has_gone_has_no_figures():
    with pytest.raises(Unavailable, match="Connection refused"):
        figures("127.0.0.1:1")


@pytest.mark.parametrize("arrivals", [1, 2, 20])
def test_arrivals_are_as_many_a_second_as_is_said(arrivals):
    moments = poisson(arrivals, 5)
    assert len(moments) == arrivals
    assert moments == sorted(moments) == poisson(arrivals, 5)
    assert (moments[0], moments[-1]) == (0.0, arrivals - 1.0)


def test_without_a_saturated_rate_of_all_no_load_is_comparable(context):
    diaries = [Diary("a", 0.0, [], fails_at=1), Diary("b", 0.001, [])]
    rows = list(MIXED.hold(context, diaries))
    told = [(row.subject, row.case.get("of_steps"), row.error and row.error.split(":")[0]) for row in rows]
    nothing = "no saturated rate of all of them"
    assert told == [
        ("a", None, "Unavailable"), ("b", None, None),
        ("a", 2, nothing), ("a", 5, nothing), ("b", 2, nothing), ("b", 5, nothing),
    ]  # fmt: skip


def test_load_runs_all_its_parts_on_the_same_servers_with_jobs_of_their_own(context, monkeypatch):
    book, starts = [], []

    def start(name):
        @contextmanager
        def starting(repository):
            starts.append(name)
            yield Diary(name, 0.0, book)

        return starting

    monkeypatch.setattr("packshot_bench.scenarios.load.PAINTERS", (start("a"), start("b")))
    closed = Concurrency(SIDE, Parameters(2), callers=(2,))
    open_loop = OpenLoop(SIDE, steps=(2,), requests=3, callers=2)
    rows = list(Load((closed, open_loop, MIXED)).run(context))
    assert starts == ["a", "b"]
    assert {row.scenario for row in rows} == {"concurrency", "open_loop", "mixed_steps"}
    seeds = [seed for name, jobs in book if name == "a" for seed, _ in jobs]
    assert len(set(seeds)) == len(seeds) == 1 + 4 + (4 + 3) + (4 + 6)


def test_a_part_that_breaks_off_costs_no_other_its_rows(context, monkeypatch):
    @contextmanager
    def start(repository):
        yield Diary("a", 0.0, [])

    monkeypatch.setattr("packshot_bench.scenarios.load.PAINTERS", (start,))
    broken = Concurrency(SIDE, Parameters(2), callers=(-1,))
    rows = list(Load((broken, OpenLoop(SIDE, steps=(2,), requests=3, callers=2))).run(context))
    assert [(row.scenario, row.subject) for row in rows] == [
        ("concurrency", WHOLE), ("open_loop", "a"), ("open_loop", "a"),
    ]  # fmt: skip


def test_a_closed_loop_has_a_row_for_each_number_of_callers_and_each_painter(context):
    diaries = [Diary(name, 0.001, []) for name in ("a", "b")]
    rows = list(Concurrency(SIDE, Parameters(2), callers=(1, 3), pictures=2).hold(context, diaries))
    assert [(row.subject, row.case["callers"], len(row.samples_s)) for row in rows] == [
        ("a", 1, 2), ("b", 1, 2), ("a", 3, 6), ("b", 3, 6),
    ]  # fmt: skip
    assert all(row.measures["images_per_s"] > 0 for row in rows)


def test_callers_of_a_closed_loop_have_one_job_each_and_painters_take_turns(context):
    book = []
    loop = Concurrency(SIDE, Parameters(2), callers=(3,), pictures=2)
    for number in range(2):
        list(loop.hold(replace(context, round=number), [Diary("a", 0.01, book), Diary("b", 0.01, book)]))
    assert [name for name, _ in book] == ["a", "b", "b", "a"]
    assert [len(jobs) for _, jobs in book] == [6] * 4
    assert book[0][1] == book[1][1] != book[2][1] == book[3][1]


def test_every_sample_of_a_load_has_the_machines_speed_beside_it(context):
    diary = Diary("a", 0.001, [])
    closed = Concurrency(SIDE, Parameters(2), callers=(2,)).hold(context, [diary])
    for row in (*closed, *MIXED.hold(context, [diary])):
        assert len(row.probe_s) == len(row.samples_s)
        assert min(row.probe_s) > 0
