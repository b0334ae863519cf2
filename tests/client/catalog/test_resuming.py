"""A second run: nothing is lost, nothing is done twice, and nothing stale stays."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from PIL import Image

from packshot.catalog import runner
from packshot.catalog.ledger import Ledger
from packshot.catalog.state import State
from tests.client.catalog.conftest import SCENES, cup, line, paint_noise
from tests.client.fake_triton import failing, whole_photo
from tests.client.pictures import texture

INVALID = grpc.StatusCode.INVALID_ARGUMENT, "generate.prompt: got x, expected y"


def painted(triton) -> int:
    return len(triton.arrays("generate"))


def everything(folder) -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_a_second_run_does_no_work(run, triton):
    first = run(cup("A"), cup("B", num_images=2))
    before, calls = everything(first.folder), len(triton.calls)
    second = run()
    assert (second.status, second.out) == (0, "delivered\t2\nout/index.html\n")
    assert len(triton.calls) == calls
    assert everything(second.folder) == before


def test_a_manifest_may_be_sorted_anew_and_moved(run, triton, shop, catalog):
    run(cup("A"), cup("B"))
    (shop / "other.jsonl").write_text("\n".join(map(json.dumps, (cup("B"), cup("A")))))
    assert catalog("run", "other.jsonl", "--output", "out").status == 0
    assert painted(triton) == 2


@pytest.mark.parametrize("columns", [{"colour": "blue"}, {"output_format": "webp"}, {"seed": 8}])
def test_what_is_asked_for_otherwise_is_painted_again_and_what_it_replaces_goes(run, triton, columns):
    run(cup("A"), cup("B"))
    before = {name: len(triton.arrays(name)) for name in ("generate", "segment")}
    done = run(cup("A", **columns), cup("B"))
    assert (done.status, painted(triton) - before["generate"]) == (0, 1)
    (picture,) = (name for name in done.files("delivered") if name.startswith("A/"))
    assert sorted(path.name for path in (done.folder / "delivered/A").iterdir()) == sorted(
        [picture.removeprefix("A/"), picture.removeprefix("A/").rpartition(".")[0] + ".json"]
    )
    shown = {path.name for path in (done.folder / "sheet").iterdir()}
    assert len(shown) == 6, "of each product the photo, the cut-out and the picture"
    assert not list(done.folder.glob("work/*"))


def test_one_byte_of_a_photo_makes_exactly_its_product_anew(run, triton, shop):
    Image.open(shop / "cup.png").save(shop / "b.png")
    run(cup("A"), cup("B", photo="b.png"))
    with Image.open(shop / "b.png") as image:
        pixels = np.array(image)
    pixels[40, 60, 0] ^= 1
    Image.fromarray(pixels).save(shop / "b.png")
    done = run()
    assert painted(triton) == 3
    assert (
        done.json("delivered/B/B-7.json")["inputs_sha256"]
        != done.json("delivered/A/A-7.json")["inputs_sha256"]
    )


def test_other_artifacts_of_the_server_are_other_pictures(run, triton):
    run(cup())
    triton.artifacts = "another repository"
    run()
    assert painted(triton) == 2


def test_another_mask_of_the_same_photo_is_another_picture(run, triton, shop):
    run(cup(photo="photo.png", mask="mask.png"))
    Image.fromarray(texture(120, 80)[..., 0]).save(shop / "mask.png")
    run()
    assert painted(triton) == 2


def test_other_thresholds_decide_anew_without_painting(run, triton, shop):
    done = run(cup("A"))
    assert list(done.files("delivered")) == ["A/A-7.png"]
    before = done.files("delivered")["A/A-7.png"]
    (shop / "styles.yaml").write_text(
        SCENES.replace("canvas: [96", "gate: {min_edge_f1_rim: 1}, canvas: [96")
    )
    done = run()
    assert (done.status, done.files("delivered"), done.files("rejected")) == (10, {}, {"A/A-7.png": before})
    assert "edge_f1_rim: " in done.json("rejected/A/A-7.json")["failures"][0]
    (shop / "styles.yaml").write_text(SCENES)
    done = run()
    assert (done.status, done.files("delivered"), done.files("rejected")) == (0, {"A/A-7.png": before}, {})
    assert painted(triton) == 1


@pytest.mark.parametrize("lost", ["delivered/A/A-8.png", "delivered/A/A-8.json"])
@pytest.mark.parametrize("lose", [Path.unlink, Path.touch], ids=["deleted", "emptied"])
def test_what_was_lost_is_there_again_and_the_rest_is_left_alone(run, triton, lost, lose):
    done = run(cup("A", num_images=3), cup("B"))
    before = everything(done.folder)
    (done.folder / lost).write_bytes(b"")
    lose(done.folder / lost)
    done = run()
    assert done.status == 0
    assert everything(done.folder) == before
    assert (done.folder / "delivered/A/A-8.json").is_file()
    assert painted(triton) == 4 + lost.endswith(".png")


def test_a_picture_that_was_made_and_lost_before_it_was_delivered_is_made_again(run, triton):
    triton.models["generate"] = _after(1, failing(1, *INVALID, paint_noise))
    done = run(cup("A", num_images=3))
    assert done.status == 10
    (half_made,) = done.folder.glob("work/*.png")
    half_made.write_bytes(half_made.read_bytes()[:100])
    done = run(cup("A", num_images=3, negative_prompt="x"))
    assert done.status == 0
    assert not list(done.folder.glob("work/*"))
    assert painted(triton) == 2 + 3


def test_half_made_pictures_are_gone_on_with(run, triton, catalog):
    triton.models["generate"] = _after(1, failing(1, *INVALID, paint_noise))
    run(cup("A", num_images=3))
    done = catalog("retry", "out")
    assert (done.status, painted(triton)) == (0, 2 + 2)
    assert list(done.files("delivered")) == ["A/A-7.png", "A/A-8.png", "A/A-9.png"]


def test_a_lost_file_of_a_half_made_product_is_made_again_by_retry(run, triton, catalog):
    triton.models["generate"] = _after(1, failing(1, *INVALID, paint_noise))
    done = run(cup("A", num_images=3))
    (half_made,) = done.folder.glob("work/*.png")
    half_made.unlink()
    done = catalog("retry", "out")
    assert (done.status, len(done.files("delivered"))) == (0, 3)


def test_a_run_can_be_stopped_while_it_looks_through_what_is_done(triton, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "task_of", lambda *_: None)
    items = itertools.repeat(SimpleNamespace(sku="A"))
    settings = runner.Settings(tmp_path, (triton.address,), 1, None, False, 10.0)

    async def stopped() -> None:
        with Ledger(tmp_path) as ledger:
            books = runner.Books(settings, ledger, State(tmp_path), lambda *_: None)
            running = asyncio.create_task(runner.Runner(settings, books).run(items))
            await asyncio.sleep(0.3)
            assert not running.done()
            running.cancel()
            await asyncio.wait({running}, timeout=10)
            assert running.cancelled()

    asyncio.run(stopped())


def test_fewer_pictures_take_the_others_away_and_more_are_added(run, triton):
    run(cup(num_images=3))
    done = run(cup(num_images=1))
    assert list(done.files("delivered")) == ["A1/A1-7.png"]
    done = run(cup(num_images=2))
    assert list(done.files("delivered")) == ["A1/A1-7.png", "A1/A1-8.png"]
    assert painted(triton) == 4


def test_a_permanent_error_stays_until_retry_and_retry_does_nothing_else(run, triton, catalog):
    triton.models["generate"] = failing(1, *INVALID, paint_noise)
    done = run(cup("A"), cup("B"), options=("--max-in-flight", "1"))
    assert (done.status, done.out) == (10, "INVALID_ARGUMENT\t1\ndelivered\t1\nout/index.html\n")
    (error,) = done.lines("errors.jsonl")
    assert error == {
        "sku": "A", "line": 1, "code": "INVALID_ARGUMENT", "message": INVALID[1], "parameter": "generate.prompt",
    }  # fmt: skip
    assert run().status == 10
    assert painted(triton) == 2
    (done.folder / "delivered/B/B-7.png").unlink()
    done = catalog("retry", "out")
    assert (done.status, done.out) == (0, "delivered\t2\nout/index.html\n")
    assert list(done.files("delivered")) == ["A/A-7.png"]
    assert painted(triton) == 3
    assert done.lines("errors.jsonl") == []


def test_a_permanent_error_is_tried_again_once_the_line_is_another(run, triton):
    triton.models["generate"] = failing(1, *INVALID, paint_noise)
    run(cup())
    assert run(cup(colour="blue")).status == 0


def test_retry_tries_what_failed_whatever_is_wrong_with_other_lines(run, triton, catalog, shop):
    Image.open(shop / "cup.png").save(shop / "archived.png")
    triton.models["generate"] = failing(1, *INVALID, paint_noise)
    run(cup("A"), cup("B", photo="archived.png"), options=("--max-in-flight", "1"))
    (shop / "archived.png").unlink()
    done = catalog("retry", "out")
    assert (done.status, done.out) == (10, "delivered\t2\nlines left out\t1\nout/index.html\n")
    assert "line 2: photo archived.png: got no such file" in done.err
    assert "packshot: 1/1 " in done.err


def test_retry_is_no_success_while_products_were_never_begun(run, triton, catalog, shop):
    run(cup("A"))
    (shop / "manifest.jsonl").write_text("".join(json.dumps(cup(sku)) + "\n" for sku in "ABC"))
    done = catalog("retry", "out")
    assert (done.status, done.out) == (10, "delivered\t1\nnot begun\t2\nout/index.html\n")


def test_retry_with_nothing_to_retry_asks_no_server_and_tells_what_is_not_delivered(run, triton, catalog):
    triton.models["generate"] = lambda arrays: {**paint_noise(arrays), "generated_image": arrays["image"]}
    assert run(cup()).status == 10
    calls = len(triton.calls)
    done = catalog("retry", "out")
    assert (done.status, done.out) == (10, "rejected\t1\nout/index.html\n")
    assert len(triton.calls) == calls


def test_what_was_delivered_stays_when_its_successor_fails(run, triton):
    run(cup())
    triton.models["generate"] = failing(1, *INVALID, paint_noise)
    done = run(cup(colour="blue"))
    assert done.status == 10
    assert list(done.files("delivered")) == ["A1/A1-7.png"]
    done = run(cup(colour="green"))
    assert (done.status, list(done.files("delivered"))) == (0, ["A1/A1-7.png"])


def test_a_photo_that_vanishes_during_the_run_is_no_success(run, triton, shop):
    def paint(arrays):
        (shop / "late.png").unlink(missing_ok=True)
        return paint_noise(arrays)

    Image.open(shop / "cup.png").save(shop / "late.png")
    triton.models["generate"] = paint
    lines = [cup(f"sku{number}") for number in range(4)] + [cup("late", photo="late.png")]
    done = run(*lines, options=("--max-in-flight", "1"))
    assert done.status == 10
    assert "lines with new mistakes\t1" in done.out
    assert "packshot: line 5: photo late.png: got no such file, expected an image file" in done.err
    assert [(error["sku"], error["line"]) for error in done.lines("errors.jsonl")] == [("late", 5)]
    assert done.json("summary.json")["left_out"] == 1


def test_sam_finding_nothing_is_the_products_error_and_not_the_runs(run, triton):
    def nothing(arrays):
        return {**whole_photo(arrays), "low_res_masks": np.full((3, 16, 16), -1, np.float32)}

    triton.models["segment"] = nothing
    done = run(line(sku="A", points=[[5, 5]]), line(sku="B", photo="cup.png"))
    assert (done.status, done.out) == (10, "INVALID_ARGUMENT\t1\ndelivered\t1\nout/index.html\n")


def _after(times: int, then):
    """Answers well some times before it is another model."""
    left = [times]

    def model(arrays):
        left[0] -= 1
        return paint_noise(arrays) if left[0] >= 0 else then(arrays)

    return model
