"""Servers that are busy, slow, broken or gone."""

from __future__ import annotations

import asyncio
import errno
import random
import resource
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from packshot import Unavailable
from packshot.catalog import attempts
from packshot.catalog.ledger import Ledger
from tests.client.catalog.conftest import cup, line, paint_noise
from tests.client.fake_triton import FakeTriton, Status, failing, slow

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE, "not ready"
FULL = grpc.StatusCode.UNAVAILABLE, "the denoiser's queue is full: 64 requests are waiting"
#: What Triton says while it stops.
STOPPING = (
    (grpc.StatusCode.INTERNAL, "Server is stopping, scheduler for model has stopped accepting requests"),
    (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'generate' has no available versions"),
)


def test_a_busy_server_is_asked_until_it_has_time(run, triton):
    triton.models["generate"] = failing(5, *UNAVAILABLE, paint_noise)
    assert run(cup()).status == 0
    assert len(triton.arrays("generate")) == 6


def test_a_full_queue_is_waited_out_however_often_it_is_found_full(run, triton):
    triton.models["generate"] = failing(20, *FULL, paint_noise)
    assert run(cup()).status == 0
    assert len(triton.arrays("generate")) == 21


def test_a_full_queue_is_waited_out_no_longer_than_a_request_may_take(run, triton):
    triton.models["generate"] = failing(10**6, *FULL, paint_noise)
    done = run(cup(), options=("--timeout-s", "0.5"))
    assert (done.status, done.out) == (10, "UNAVAILABLE\t1\nout/index.html\n")


def test_what_a_server_gives_up_on_is_done_by_the_next_run(run, triton):
    triton.models["generate"] = failing(10**6, *UNAVAILABLE, paint_noise)
    done = run(cup("A"), line(sku="B", photo="cup.png"))
    assert (done.status, done.out) == (10, "UNAVAILABLE\t1\ndelivered\t1\nout/index.html\n")
    triton.models["generate"] = paint_noise
    done = run()
    assert (done.status, done.out) == (0, "delivered\t2\nout/index.html\n")


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
def test_other_errors_are_not_tried_again(run, triton, code):
    triton.models["generate"] = failing(10**6, code, "no", paint_noise)
    done = run(cup())
    assert done.status == 10
    assert [error["code"] for error in done.lines("errors.jsonl")] == [code.name]
    assert len(triton.arrays("generate")) == 1


def test_an_answer_that_never_comes_is_a_deadline_and_tried_again(run, triton):
    first = threading.Event()

    def hang_once(arrays):
        if not first.is_set():
            first.set()
            return slow(2, paint_noise)(arrays)
        return paint_noise(arrays)

    triton.models["generate"] = hang_once
    assert run(cup(), options=("--timeout-s", "0.7")).status == 0
    assert len(triton.arrays("generate")) == 2


def test_a_fault_of_ours_is_one_products_error(run, triton):
    triton.models["segment"] = lambda arrays: {
        "low_res_masks": np.ones((3, 16, 16), np.float32), "iou_predictions": np.full(3, np.nan, np.float32)
    }  # fmt: skip
    done = run(line(sku="A", points=[[5, 5]]), line(sku="B", photo="cup.png"))
    assert done.status == 10
    assert {record["sku"] for record in done.lines("results.jsonl")} == {"B"}
    assert [error["code"] for error in done.lines("errors.jsonl")] == ["INTERNAL"]


def test_a_server_that_is_gone_stops_the_run_instead_of_failing_every_product(run, triton):
    def die(arrays):
        threading.Thread(target=triton.stop).start()
        raise Status(grpc.StatusCode.UNAVAILABLE, "going down")

    triton.models["generate"] = die
    done = run(*(cup(f"sku{number}") for number in range(12)), options=("--max-in-flight", "2"))
    assert done.status == 3
    assert "items in a row. Run the same command again when the server is well" in done.err
    assert len(done.lines("errors.jsonl")) <= 4
    with FakeTriton() as back:
        back.models["generate"] = paint_noise
        again = run(servers=(back.address,))
    assert (again.status, again.out) == (0, "delivered\t12\nout/index.html\n")


def test_without_a_server_from_the_first_nothing_is_recorded(run, triton):
    triton.stop()
    done = run(cup())
    assert done.status == 3
    assert f"{triton.address}: no server answers there" in done.err
    assert done.lines("errors.jsonl") == []


def test_two_servers_take_turns(run, triton):
    with FakeTriton() as other:
        other.models["generate"] = paint_noise
        done = run(*(cup(f"sku{n}") for n in range(8)), servers=(triton.address, other.address))
        assert done.status == 0
        counts = [len(server.arrays("generate")) for server in (triton, other)]
    assert counts == [4, 4]


@pytest.mark.parametrize("refusal", [UNAVAILABLE, FULL, *STOPPING])
def test_what_one_server_refuses_the_next_one_does(run, triton, refusal):
    triton.models["generate"] = failing(10**6, *refusal, paint_noise)
    with FakeTriton() as other:
        other.models["generate"] = paint_noise
        done = run(cup("A"), cup("B"), servers=(triton.address, other.address))
    assert (done.status, done.out) == (0, "delivered\t2\nout/index.html\n")


def test_each_try_of_an_item_is_on_another_server_whatever_the_others_do(monkeypatch):
    asked: dict[str, list[object]] = {}

    async def busy(studio, item, folder, tell):
        asked.setdefault(item, []).append(studio)
        raise Unavailable("busy")

    monkeypatch.setattr(attempts, "make", busy)
    monkeypatch.setattr(attempts, "_FIRST_PAUSE_S", 0.01)
    # The items come back in the order in which they began: each finds that all others have moved the turn.
    monkeypatch.setattr(random, "uniform", lambda least, most: most)

    async def three_items(*items: Any, tell: Any = None) -> None:
        async with attempts.Attempts(("a:1", "b:1", "c:1"), 1) as servers:
            makes = [servers.make(lambda item=item: item, Path(), tell) for item in items]
            await asyncio.gather(*makes, return_exceptions=True)

    asyncio.run(three_items("A", "B", "C"))
    for tries in asked.values():
        assert len(tries) == 4
        assert len(set(tries[:3])) == 3


def test_servers_with_different_artifacts_do_not_work_together(run, triton):
    with FakeTriton(artifacts="other") as other:
        done = run(cup(), servers=(triton.address, other.address))
    assert done.status == 1
    assert "got different model repositories, expected the same on all" in done.err
    assert triton.arrays("generate") == other.arrays("generate") == []


def test_a_server_that_comes_back_with_other_weights_ends_the_run_before_they_are_mixed(run, triton):
    def redeployed(arrays):
        if arrays["seed"].item() == 2 and not triton.artifacts:
            triton.artifacts = "new"
            raise Status(grpc.StatusCode.UNAVAILABLE, "going down")
        return paint_noise(arrays)

    triton.models["generate"] = redeployed
    done = run(*(cup(f"sku{seed}", seed=seed) for seed in (1, 2, 3)), options=("--max-in-flight", "1"))
    assert done.status == 3
    assert "got another model repository than when the run began" in done.err
    assert [record["sku"] for record in done.lines("ledger.jsonl")] == ["sku1", "sku1"], "picture, and item"
    before = len(triton.arrays("generate"))
    assert run().status == 0
    assert len(triton.arrays("generate")) - before == 3, "everything anew"


def test_no_more_products_are_in_work_than_the_operator_allows(run, triton):
    triton.models["generate"] = slow(0.05, paint_noise)
    assert run(*(cup(f"sku{n}") for n in range(9)), options=("--max-in-flight", "3")).status == 0
    assert triton.most_at_once == 3


def test_a_full_disk_ends_the_run_and_says_so(run):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        done = run(*(cup(f"sku{n}") for n in range(3)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.status == 1
    assert "File too large" in done.err
    assert not list(done.folder.rglob(".packshot-*"))
    assert run().status == 0


def test_a_disk_without_room_for_a_pictures_record_is_not_its_products_error(run, monkeypatch):
    append = Ledger.append

    def without_pictures(self, record):
        if record["kind"] == "picture":
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        return append(self, record)

    with monkeypatch.context() as full:
        full.setattr(Ledger, "append", without_pictures)
        done = run(cup())
    assert done.status == 1
    assert "No space left on device; make room, and run the same command again" in done.err
    assert done.lines("ledger.jsonl") == []
    assert run().out == "delivered\t1\nout/index.html\n"


def test_a_folder_that_is_moved_away_during_a_run_ends_it(run, triton, shop):
    def paint(arrays):
        if arrays["seed"].item() == 2:
            (shop / "out").rename(shop / "elsewhere")
        return paint_noise(arrays)

    triton.models["generate"] = paint
    done = run(*(cup(f"sku{seed}", seed=seed) for seed in (1, 2, 3)), options=("--max-in-flight", "1"))
    assert done.status == 1
    assert "ledger.jsonl: moved or removed during the run" in done.err
    assert len(triton.arrays("generate")) == 2
