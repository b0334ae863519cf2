"""``packshot catalog`` from the manifest to the delivered file."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from PIL import Image

from packshot import read_made_by
from packshot.catalog.ledger import Ledger
from tests.client.catalog.conftest import cup, line, paint_noise
from tests.client.catalog.test_items import MISTAKES
from tests.client.fake_triton import failing
from tests.client.pictures import texture


def test_a_product_becomes_checked_pictures_with_all_that_is_known_of_them(run, triton, shop):
    done = run(cup(num_images=2))
    assert (done.status, done.out) == (0, "delivered\t1\nout/index.html\n")
    assert list(done.files("delivered")) == ["A1/A1-7.png", "A1/A1-8.png"]
    sidecar = done.json("delivered/A1/A1-7.json")
    assert sidecar.items() >= {
        "sku": "A1", "prompt": "a red cup on a beach", "negative_prompt": "", "seed": 7, "failures": [],
        "background_color": None, "preset": [],
    }.items()  # fmt: skip
    assert sidecar["digital_source_type"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert sidecar["parameters"]["num_inference_steps"] == 2
    assert sidecar["gate"]["product_difference"] == 0
    assert set(sidecar["inputs_sha256"]) == {"photo"}
    assert sidecar["timings_s"]["generate"] > 0
    assert set(map(len, (sidecar["sha256"], sidecar["key"], sidecar["inputs_sha256"]["photo"]))) == {64}
    assert [each["priority"].item() for each in triton.arrays("generate")] == [2, 2]
    (result,) = done.lines("results.jsonl")
    assert [picture["path"] for picture in result["pictures"]] == [
        "delivered/A1/A1-7.png",
        "delivered/A1/A1-8.png",
    ]
    assert done.lines("errors.jsonl") == []
    assert done.json("summary.json")["pictures"] == {"delivered": 2, "rejected": 0}
    assert read_made_by(shop / "out/delivered/A1/A1-7.png")["sku"] == "A1"
    assert not list(done.folder.glob("work/*"))
    assert not list(done.folder.rglob(".packshot-*"))


@pytest.mark.parametrize(
    ("columns", "asked"),
    [
        ({"points": [[60, 40]], "labels": [1]}, [[1, -1]]),
        ({"boxes": [[30, 20, 90, 60]]}, [[2, 3]]),
        ({}, [[1, -1], [2, 3]]),
        ({"mask": "mask.png"}, []),
    ],
)
def test_the_product_is_cut_out_as_the_line_says(run, triton, columns, asked):
    done = run(line(**columns))
    assert done.status == 0
    assert [each["point_labels"].tolist() for each in triton.arrays("segment")] == asked


def test_every_format_says_in_xmp_what_it_is(run):
    forms = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
    kinds = {"beach": "compositeWithTrainedAlgorithmicMedia", "plain": "algorithmicallyEnhanced"}
    lines = [
        cup(f"{style}-{form}", style=style, output_format=form.lower())
        for style in kinds
        for form in forms.values()
    ]
    pictures = run(*lines).files("delivered")
    assert len(pictures) == 6
    for name, content in pictures.items():
        kind = kinds[name.partition("-")[0]]
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == forms[name.rpartition(".")[2]]
            xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
        tag = (
            f"<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/{kind}<".encode()
        )
        assert tag in xmp
        assert tag in content


def test_the_finished_picture_may_be_larger_and_has_the_products_own_sharpness(run, shop):
    Image.fromarray(np.dstack([texture(400, 300), np.full((300, 400), 255, np.uint8)])[:, :, :]).save(
        shop / "b.png"
    )
    image = np.dstack([texture(400, 300), np.zeros((300, 400), np.uint8)])
    image[50:250, 100:300, 3] = 255
    Image.fromarray(image).save(shop / "big.png")
    done = run(cup(photo="big.png", output_size=[480, 320]))
    with Image.open(done.folder / "delivered/A1/A1-7.png") as picture:
        assert picture.size == (480, 320)
        pixels = np.asarray(picture)
    assert pixels[100:220, 180:300].std() > 40


def test_every_bad_line_is_told_and_nothing_is_started(run, triton, shop):
    bad = [wrong for wrong, _ in MISTAKES.values()]
    manifest = [line(sku="good1"), *bad, "{", "[]", line(sku="GOOD1"), line(sku="good2")]
    done = run(*manifest)
    assert done.status == 2
    for number, (_, message) in enumerate(MISTAKES.values(), 2):
        told = [text for text in done.err.splitlines() if text.startswith(f"packshot: line {number}: ")]
        assert any(" ".join(message.split()) in text for text in told), message
    assert "expected another sku than line 1's" in done.err
    assert "nothing was started" in done.err.splitlines()[-1]
    assert triton.calls == []
    assert not (shop / "out").exists()


def test_with_skip_invalid_the_good_lines_are_done_and_the_others_reported(run):
    done = run(line(sku="good"), "{", line(sku="B", seed=-1), cup("C"), options=("--skip-invalid",))
    assert done.status == 10
    assert done.out.startswith("delivered\t2\nlines left out\t2\n")
    assert {record["sku"] for record in done.lines("results.jsonl")} == {"good", "C"}
    first, second = done.lines("errors.jsonl")
    assert (first["line"], first["sku"], first["code"]) == (2, None, "INVALID_ARGUMENT")
    assert (second["line"], second["sku"], second["parameter"]) == (3, "B", "seed")
    assert done.json("summary.json")["left_out"] == 2


def test_validate_tells_all_mistakes_and_starts_nothing(catalog, shop, triton):
    (shop / "m.csv").write_text("sku,photo,style,colour\na,cup.png,beach,red\nb,gone.png,beach,\n")
    done = catalog("validate", "m.csv", servers=())
    assert done.status == 2
    assert "packshot: line 3: photo gone.png: got no such file" in done.err
    assert "packshot: line 3: prompt: got no value in column 'colour'" in done.err
    (shop / "m.csv").write_text("sku,photo,style,colour\na,cup.png,beach,red\n")
    assert catalog("validate", "m.csv", servers=()).out == "1 products, no mistakes\n"
    assert triton.calls == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shard", "2/2"), "shard: got 2, expected an integer from 0 to 1"),
        (("--shard", "x"), "--shard: got 'x', expected I/N"),
        (("--max-in-flight", "0"), "--max-in-flight: got 0, expected an integer from 1"),
        (("--keep-best", "0"), "--keep-best: got 0, expected an integer from 1"),
        (("--timeout-s", "0"), "--timeout-s: got 0.0, expected a number above 0"),
        (("--styles", "no.yaml"), "styles: got "),
    ],
)
def test_a_wrong_option_starts_nothing(run, shop, options, message):
    done = run(cup(), options=options)
    assert done.status == 2
    assert message in done.err
    assert not (shop / "out").exists()


@pytest.mark.filterwarnings("ignore::packshot.PromptTruncatedWarning")
def test_prompts_that_were_cut_off_are_told_of_each_product(run, triton):
    def paint(arrays):
        long = len(arrays["prompt"].item()) > 50
        return {**paint_noise(arrays), "num_truncated_tokens": np.array([7 * long, 0], np.int32)}

    triton.models["generate"] = paint
    done = run(cup("A"), cup("B", colour="red " * 20))
    assert done.json("summary.json")["prompts_cut_off"] == 1
    told = {line["sku"]: line["pictures"][0]["num_truncated_tokens"] for line in done.lines("results.jsonl")}
    assert told == {"A": [0, 0], "B": [7, 0]}
    (sidecar,) = done.folder.glob("*/B/*.json")
    assert json.loads(sidecar.read_text())["num_truncated_tokens"] == [7, 0]


def test_a_run_that_is_refused_leaves_what_another_one_goes_by(run, shop):
    run(cup())
    begun = (shop / "out/catalog.json").read_text()
    with Ledger(shop / "out"):
        refused = run(cup(sku="B1"), options=("--keep-best", "1"))
    assert refused.status != 0
    assert "another run is at work" in refused.err
    assert (shop / "out/catalog.json").read_text() == begun


def test_a_hostile_sku_stays_in_its_folder(run, shop):
    skus = [
        "../../etc/passwd",
        "a/b",
        ".",
        "..",
        "con",
        "☕",
        "a.",
        "a ",
        "a\nb",
        "<b>&\"'",
        "-rf",
        "x" * 150,
    ]
    before = {path for path in shop.rglob("*") if "out" not in path.parts}
    done = run(*(line(sku=sku, photo="cup.png") for sku in skus))
    assert done.status == 0
    assert len({name.partition("/")[0] for name in done.files("delivered")}) == len(skus)
    assert {record["sku"] for record in done.lines("results.jsonl")} == set(skus)
    for record in done.lines("results.jsonl"):
        (picture,) = record["pictures"]
        assert (done.folder / picture["path"]).resolve().parent.parent == done.folder / "delivered"
    assert {path for path in shop.rglob("*") if "out" not in path.parts} - before == {shop / "manifest.jsonl"}


def test_a_picture_that_fails_the_gate_is_set_apart_with_its_reason(run, triton):
    triton.models["generate"] = lambda arrays: {
        **paint_noise(arrays),
        "generated_image": np.zeros_like(arrays["image"]),
    }
    done = run(cup(), line(sku="B", photo="cup.png"))
    assert (done.status, done.out) == (10, "delivered\t1\nrejected\t1\nout/index.html\n")
    assert list(done.files("rejected")) == ["A1/A1-7.png"]
    assert done.json("rejected/A1/A1-7.json")["failures"] == [
        "clipped: 1, expected at most 0.5", "blank: true, expected a scene",
    ]  # fmt: skip
    assert done.json("summary.json")["failures"] == {"clipped": 1, "blank": 1}


def test_a_markets_rules_are_measured_and_fail_with_their_name(run):
    done = run(line(photo="cup.png", style=None, preset="amazon-main", output_size=[1000, 1000], seed=1))
    assert done.status == 10
    sidecar = done.json("rejected/A1/A1-1.json")
    assert sidecar["failures"] == ["amazon-main longest_side_px: 1000, expected 1600 to 10000"]
    assert [rule["rule"] for rule in sidecar["preset"] if rule["passed"]] == [
        "format", "shortest_side_px", "bytes", "off_white_pixels", "fill",
    ]  # fmt: skip


def test_keep_best_delivers_the_best_and_sets_the_others_apart(run, triton):
    def paint(arrays):
        # Pure black pixels: the more of them, the lower the score. The second seed is the best.
        picture = paint_noise(arrays)
        share = {7: 20, 8: 0, 9: 10}[arrays["seed"].item()]
        picture["generated_image"][:share] = 0
        return picture

    triton.models["generate"] = paint
    done = run(cup(num_images=3), options=("--keep-best", "1"))
    assert done.status == 0
    assert list(done.files("delivered")) == ["A1/A1-8.png"]
    assert list(done.files("rejected")) == ["A1/A1-7.png", "A1/A1-9.png"]
    assert done.json("rejected/A1/A1-7.json")["failures"] == ["score: not among the best 1"]
    done = run(options=("--keep-best", "2"))
    assert list(done.files("delivered")) == ["A1/A1-8.png", "A1/A1-9.png"]
    assert len(triton.arrays("generate")) == 3, "nothing was painted again"
    assert done.json("delivered/A1/A1-9.json")["failures"] == []
    assert not (done.folder / "rejected/A1/A1-9.json").exists()


def test_shards_together_do_everything_once(run, triton):
    lines = [cup(f"sku{number}") for number in range(9)]
    counts = []
    for index in range(3):
        assert run(*lines, options=("--shard", f"{index}/3")).status == 0
        counts.append(len(triton.arrays("generate")))
    assert counts[0] < counts[1] < counts[2] == 9
    done = run()
    assert done.out == "delivered\t9\nout/index.html\n"
    assert len(done.files("delivered")) == 9
    assert len(triton.arrays("generate")) == 9


def test_status_tells_what_has_become_of_everything(run, catalog, triton):
    triton.models["generate"] = failing(1, *_INVALID, paint_noise)
    run(cup("A"), cup("B"), line(sku="C"), options=("--max-in-flight", "1"))
    done = catalog("status", "out", servers=())
    assert (done.status, done.out) == (0, "INVALID_ARGUMENT\t1\ndelivered\t2\n")
    nothing = catalog("status", ".", servers=())
    assert nothing.status == 2
    assert "DIR: got ., expected the output folder of `packshot catalog run`" in nothing.err


def test_ctrl_c_keeps_what_was_done_and_the_next_run_does_the_rest(run, triton, shop):
    go_on = threading.Event()

    def paint(arrays):
        if len(triton.arrays("generate")) > 2:
            go_on.wait(30)
        return paint_noise(arrays)

    triton.models["generate"] = paint
    (shop / "manifest.jsonl").write_text("".join(json.dumps(cup(f"sku{n}")) + "\n" for n in range(6)))
    command = [sys.executable, "-m", "packshot", "catalog", "run", "manifest.jsonl", "--output", "out"]
    process = subprocess.Popen(
        [*command, "--max-in-flight", "1", "--server", triton.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while len(triton.arrays("generate")) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    status = subprocess.run(
        [sys.executable, "-m", "packshot", "catalog", "status", "out"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert status.stdout == "delivered\t2\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert len(triton.arrays("generate")) == 3
    go_on.set()
    done = run()
    assert done.status == 0
    assert len(done.files("delivered")) == 6
    assert len(triton.arrays("generate")) == 7, "one was under way"
    assert "packshot: 6/6" in done.err


_INVALID = grpc.StatusCode.INVALID_ARGUMENT, "generate.prompt: got x, expected y"
