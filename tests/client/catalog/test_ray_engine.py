"""The Ray engine's own part; Ray itself, with the real server, is in tests/integration."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from packshot.catalog import ray_engine
from tests.client.catalog.conftest import cup, paint_noise
from tests.client.fake_triton import Status, slow

RAY = ("--engine", "ray", "--max-in-flight", "2")


class RayHere:
    """What the engine uses of Ray and of Ray Data, with one worker, in this process."""

    DataContext = SimpleNamespace(get_current=SimpleNamespace)

    def is_initialized(self) -> bool:
        return True

    def from_items(self, rows: list[dict[str, Any]]) -> RayHere:
        self.rows = iter(rows)
        return self

    def map_batches(
        self, worker: Any, *, fn_constructor_args: tuple[Any, ...], batch_size: int, **_: object
    ) -> RayHere:
        work, rows = worker(*fn_constructor_args), list(self.rows)
        batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        answers = (work({"task": [row["task"] for row in batch]}) for batch in batches)
        self.rows = ({"outcomes": one} for answer in answers for one in answer["outcomes"])
        return self

    def iter_rows(self) -> Any:
        return self.rows


@pytest.fixture(autouse=True)
def ray_here(monkeypatch):
    here = RayHere()
    monkeypatch.setattr(ray_engine, "needing", lambda extra, module: here)


def test_everything_is_delivered_and_a_second_run_does_no_work(run, triton):
    cups = [cup(f"sku{number}") for number in range(5)]
    for _ in range(2):
        done = run(*cups, options=RAY)
        assert (done.status, done.out) == (0, "delivered\t5\nout/index.html\n")
    assert len(triton.arrays("generate")) == 5


def test_a_server_that_is_gone_stops_the_run_instead_of_failing_every_product(run, triton):
    def die(arrays):
        threading.Thread(target=triton.stop).start()
        raise Status(grpc.StatusCode.UNAVAILABLE, "going down")

    triton.models["generate"] = die
    done = run(*(cup(f"sku{number}") for number in range(12)), options=RAY)
    assert done.status == 3
    assert "3 items in a row. Run the same command again when the server is well" in done.err
    assert len(done.lines("errors.jsonl")) == 2


def test_an_answer_that_never_comes_is_its_products_error(run, triton):
    triton.models["generate"] = lambda arrays: slow(arrays["seed"].item(), paint_noise)(arrays)
    done = run(cup("A", seed=0), cup("B", seed=2), options=(*RAY, "--timeout-s", "0.5"))
    assert (done.status, done.out) == (10, "DEADLINE_EXCEEDED\t1\ndelivered\t1\nout/index.html\n")


def test_what_is_painted_beside_what_ends_the_run_is_not_painted_again(run, triton):
    def without_seed_1(arrays):
        if arrays["seed"].item() == 1:
            raise Status(grpc.StatusCode.NOT_FOUND, "no such model")
        return paint_noise(arrays)

    triton.models["generate"] = without_seed_1
    assert run(cup("A", seed=1), cup("B", seed=2), options=RAY).status == 3
    triton.models["generate"] = paint_noise
    assert run(options=RAY).status == 0
    assert sorted(asked["seed"].item() for asked in triton.arrays("generate")) == [1, 1, 2]
