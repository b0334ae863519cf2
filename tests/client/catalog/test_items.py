"""What a manifest asks for: good lines become items, and every mistake of the others is named."""

from __future__ import annotations

import os
from decimal import Decimal

import numpy as np
import pytest
from PIL import Image
from pyarrow import Table, parquet

from packshot import load_photo
from packshot.catalog.items import Reader, file_name
from tests.client.catalog.conftest import STYLES, line, sorted_out


def test_a_line_says_what_is_made_of_which_photo(read, shop):
    (item,), problems = read(
        line(style="beach", colour="red", points=[[10, 20], [1, 1]], labels=[1, 0], boxes=[[5, 5, 60, 50]],
             num_images=3, seed=7, padding=0.2, guidance_scale=5)
    )  # fmt: skip
    assert problems == []
    assert (item.line, item.sku, item.photo, item.seeds) == (1, "A1", shop / "photo.png", (7, 8, 9))
    assert item.prompt == {
        "points": [[10.0, 20.0], [1.0, 1.0]], "labels": [1, 0], "boxes": [[5.0, 5.0, 60.0, 50.0]],
    }  # fmt: skip
    assert item.style.prompt == "a red cup on a beach"
    assert (item.style.layout.padding, item.style.parameters) == (0.2, {"guidance_scale": 5.0})


def test_a_prompt_is_all_that_a_line_without_style_needs(read):
    (item,), _ = read(line(style=None, prompt="a cup at {place}", place="sea"))
    assert item.style.prompt == "a cup at sea"


def test_a_line_may_have_a_gate_and_parameters_as_a_style_has(read):
    (item,), problems = read(
        line(gate={"max_clipped": 0.25}, parameters={"num_inference_steps": 3}, guidance_scale=4)
    )
    assert problems == []
    assert item.style.gate.max_clipped == 0.25
    assert item.style.parameters == {"num_inference_steps": 3, "guidance_scale": 4.0}


def test_a_preset_is_a_style_as_well(read):
    (item,), problems = read(line(style=None, preset="amazon-main"))
    assert problems == []
    assert (item.style.background_color, item.style.output_size) == ("#ffffff", (1600, 1600))


def test_a_line_may_turn_a_scene_into_a_plain_background(read):
    (item,), _ = read(line(style="beach", colour="red", background_color="#102030"))
    assert (item.style.prompt, item.style.background) == (None, (16, 32, 48))


def test_without_a_seed_the_sku_gives_it_the_same_in_every_manifest(read):
    (first, second), _ = read(line(), line(sku="B2"))
    (alone,), _ = read(line(sku="B2"))
    assert first.seeds != second.seeds == alone.seeds


def test_a_number_is_a_sku_and_the_same_as_its_text(read):
    (item,), problems = read(line(sku=17), line(sku="17"))
    assert item.sku == "17"
    assert problems == [
        "line 2: sku: got '17', expected another sku than line 1's (capitals count as small letters)"
    ]


@pytest.mark.parametrize("name", ["side.jpg", "side.png", "side.tiff", "side.webp"])
def test_a_photo_on_its_side_has_its_upright_size(read, shop, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((80, 120, 3), np.uint8)).save(shop / name, exif=exif)
    assert load_photo(shop / name).size == (80, 120)
    items, problems = read(
        line(photo=name, points=[[70, 110]]), line(sku="B", photo=name, points=[[110, 70]])
    )
    assert len(items) == 1
    assert problems == ["line 2: points[0]: got 110,70, expected a point inside the 80x120 photo"]


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png"])
def test_nothing_but_a_photo_s_header_is_read(read, shop, name):
    Image.open(shop / "photo.png").save(shop / name)
    content = (shop / name).read_bytes()
    (shop / name).write_bytes(content[: len(content) // 2])
    items, problems = read(line(photo=name))
    assert (len(items), problems) == (1, [])


#: What is wrong with a line, and what is said about it.
MISTAKES = {
    "no sku": (line(sku=None), "sku: got nothing, expected text"),
    "blank sku": (line(sku=" "), "sku: got ' ', expected text"),
    "sku is a list": (line(sku=["A"]), "sku: got ['A'], expected text"),
    "long sku": (line(sku="x" * 200), "at most 150 characters"),
    "no photo": (line(photo=None), "photo: got nothing, expected a path to a picture"),
    "photo is a number": (line(photo=5), "photo: got 5, expected a path"),
    "photo is missing": (line(photo="gone.png"), "photo gone.png: got no such file, expected an image file"),
    "photo is a folder": (line(photo="."), "photo .: got an image that cannot be read"),
    "photo is no picture": (line(photo="note.txt"), "photo note.txt: got something that is not an image"),
    "photo has a zero in its name": (line(photo="a\0b"), "photo: got 'a\\x00b', expected a path"),
    "photo has a name too long": (line(photo="x" * 5000), "File name too long"),
    "point outside": (line(points=[[120, 10]]), "points[0]: got 120,10, expected a point inside the 120x80 photo"),
    "points are text": (line(points="left"), "points: got 'left', expected a list of x, y"),
    "point of three": (line(points=[[1, 2, 3]]), "points: got shape [1, 3], expected a list of x, y"),
    "no point": (line(points=[]), "prompt: got no points and no boxes"),
    "background alone": (line(points=[[1, 1]], labels=[0]), "prompt: got 1 background points"),
    "a point without y": (line(points=[[1, None]]), "points: got NaN or infinity, expected finite numbers"),
    "labels do not match": (line(points=[[1, 1]], labels=[1, 0]), "labels: got shape [2], expected [1]"),
    "label 2": (line(points=[[1, 1]], labels=[2]), "labels: got [2], expected 1 (product) or 0"),
    "labels are text": (line(points=[[1, 1]], labels=["1"]), "labels: got ['1'], expected 1 (product) or 0"),
    "labels without points": (line(labels=[1]), "labels: got [1], expected points, too"),
    "box of three": (line(boxes=[[1, 2, 3]]), "boxes: got shape [1, 3], expected a list of x0, y0, x1, y1"),
    "a box without brackets": (line(boxes=[1, 2, 3, 4]), "boxes: got shape [4], expected a list of x0, y0, x1, y1"),
    "empty box": (line(boxes=[[5, 5, 5, 9]]), "boxes[0]: got 5,5,5,9, expected x0 < x1 and y0 < y1"),
    "box outside": (line(boxes=[[5, 5, 121, 9]]), "boxes[0]: got 5,5,121,9, expected a box inside the 120x80 photo"),
    "mask of another size": (line(mask="small_mask.png"), "mask small_mask.png: got 120x50, expected 120x80"),
    "mask is missing": (line(mask="gone.png"), "mask gone.png: got no such file"),
    "mask and a prompt": (
        line(mask="mask.png", boxes=[[1, 1, 5, 5]]), "mask: got one, and boxes, expected a mask, or a prompt for SAM"
    ),
    "unknown style": (line(style="beech"), "style: got 'beech', expected one of beach, plain"),
    "style is a number": (line(style=3), "style: got 3, expected one of beach, plain"),
    "no style": (line(style=None), "style: got nothing, expected one of beach, plain, or a prompt"),
    "template without its column": (line(style="beach"), "prompt: got no value in column 'colour'"),
    "broken template": (line(style=None, prompt="a {cup"), "prompt: got 'a {cup' ("),
    "template that reaches into objects": (
        line(style=None, prompt="{sku.__class__}"), "prompt: got {sku.__class__}, expected the name of a column"
    ),
    "guidance_scale out of range": (line(guidance_scale=51), "guidance_scale: got 51, expected a number from 0 to 50"),
    "guidance_scale is infinite": ('{"sku":"a","photo":"photo.png","style":"plain","guidance_scale":1e999}',
                                   "guidance_scale: got inf, expected a number from 0 to 50"),
    "steps are a half": (line(num_inference_steps=2.5), "num_inference_steps: got 2.5, expected an integer"),
    "scheduler unknown": (line(scheduler="magic"), "scheduler: got 'magic', expected one of dpmpp_2m"),
    "padding too large": (line(padding=0.5), "padding: got 0.5, expected a number from 0 to 0.45"),
    "fill is nothing": (line(fill=0), "fill: got 0, expected a number above 0, up to 1"),
    "placement unknown": (line(placement="middle"), "placement: got 'middle', expected one of fit, original"),
    "alignment unknown": (line(vertical_alignment="low"), "vertical_alignment: got 'low', expected one of top"),
    "colour of no colour": (line(background_color="white"), "background_color: got 'white', expected #rrggbb"),
    "scene and plain": (line(prompt="sea", background_color="#ffffff"), "prompt and background_color: got both"),
    "size of no size": (line(output_size="big"), "output_size: got ['big'], expected width and height"),
    "format unknown": (line(output_format="gif"), "output_format: got 'gif', expected one of png, jpeg, webp"),
    "webp too large": (line(output_format="webp", output_size=[16384, 16384]), "got webp of 16384x16384, expected sides"),
    "shadow unknown": (line(shadow="hard"), "shadow: got 'hard', expected one of none, soft"),
    "preset unknown": (line(preset=["amazon-main"]), "preset: got ['amazon-main'], expected one of amazon-main"),
    "a scene for a market of white": (
        line(preset="amazon-main", prompt="sea", background_color=None), "background_color: got "
    ),
    "no images": (line(num_images=0), "num_images: got 0, expected an integer from 1 to 1000"),
    "several of a plain background": (line(num_images=2), "num_images: got 2, expected 1: a plain background"),
    "images in words": (line(num_images="three"), "num_images: got 'three', expected an integer"),
    "true images": (line(num_images=True), "num_images: got True, expected an integer"),
    "negative seed": (line(seed=-1), "seed: got -1, expected an integer from 0"),
    "seed too large for all": (line(seed=2**63 - 1, num_images=2), "for 2 images, expected the last one at most"),
    "misspelt num_images": (line(num_image=3), "column 'num_image': got a name that nothing uses, expected num_images"),
    "misspelt guidance_scale": (line(guidance_scal=3), "expected guidance_scale, or a name less like it"),
    "capitals": (line(Seed=3), "column 'Seed': got a name that nothing uses, expected seed"),
    "spaces": (line(**{"Num Images": 3}), "column 'Num Images': got a name that nothing uses, expected num_images"),
    "British colour": (line(background_colour="#000000"), "expected background_color, or a name"),
    "gate of no threshold": (line(gate={"min_iou": 1}), "gate of a style: got 'min_iou', expected some of"),
    "gate in words": (line(gate="strict"), "gate: got 'strict', expected names with values"),
    "misspelt parameter": (line(parameters={"guidance_scal": 3}), "parameters of a style: got 'guidance_scal'"),
    "a threshold outside the gate": (line(max_clipped=0), "column 'max_clipped': got a name that nothing uses, "
                                     "expected it in the column gate, {max_clipped: …}"),
    "an option": (line(keep_best=1), "column 'keep_best': got a name that nothing uses, expected the option --keep"),
    "layout": (line(layout={"fill": 1}), "column 'layout': got a name that nothing uses, expected its fields as"),
    "one box": (line(box=[1, 1, 5, 5]), "column 'box': got a name that nothing uses, expected boxes"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_told_with_line_value_and_what_was_expected(read, what):
    wrong, message = MISTAKES[what]
    items, problems = read(line(sku="good"), wrong)
    assert [item.sku for item in items] == ["good"]
    (problem,) = problems
    assert problem.startswith("line 2: ")
    assert message in problem
    assert " got " in problem
    assert ", expected " in problem


def test_all_mistakes_of_all_lines_are_told(read):
    items, problems = read(
        line(num_images=0, photo="gone.png", style="beech"), "{", line(sku="a1"), line(sku="B", boxes=[]), line(sku="C")
    )  # fmt: skip
    assert [item.sku for item in items] == ["C"]
    told = [problem.partition(": got")[0] for problem in problems]
    assert told == [
        "line 1: photo gone.png", "line 1: style", "line 1: num_images",
        "line 2: line", "line 3: sku", "line 4: prompt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["colour", "price", "photo_2", "category", "name", "size", "Farbe", "file", "speed"]
)
def test_columns_are_free(read, name):
    _, problems = read(line(**{name: "5"}))
    assert problems == []


def test_a_template_may_use_any_column_whatever_its_name(read):
    (item,), problems = read(
        line(style=None, prompt="{Product Name} of {label}", label="us", **{"Product Name": "cup"})
    )
    assert problems == []
    assert item.style.prompt == "cup of us"


def test_csv_writes_numbers_as_text_and_tables_with_gaps_as_fractions(shop):
    manifest = shop / "m.csv"
    manifest.write_text(
        "sku,photo,style,num_images,seed,fill,boxes,colour\n"
        'a,photo.png,beach,3,5.0,0.8,"[[1,2,30,40]]",red\n'
        "b,photo.png,plain,3.5,,,,\n"
        "c,photo.png,plain,NaN,01,1e999,[[1,\n"
    )
    (item,), problems = sorted_out(Reader(manifest, STYLES))
    assert (item.seeds, item.style.layout.fill, item.boxes) == ((5, 6, 7), 0.8, ((1.0, 2.0, 30.0, 40.0),))
    assert problems == [
        "line 3: num_images: got 3.5, expected an integer from 1 to 1000",
        "line 4: fill: got inf, expected a number above 0, up to 1",
        "line 4: num_images: got nan, expected an integer from 1 to 1000",
        "line 4: boxes: got '[[1', expected a list of x0, y0, x1, y1 in pixels of the photo",
    ]


@pytest.mark.parametrize("column", ["photo", "mask"])
def test_a_pipe_is_not_waited_for(read, shop, column):
    os.mkfifo(shop / "pipe.png")
    _, problems = read(line(**{column: "pipe.png"}))
    assert problems == [
        f"line 1: {column} pipe.png: got an image that cannot be read (it is no regular file), "
        "expected a complete image"
    ]


def test_parquet_is_read_alike(shop):
    rows = [
        line(style="beach", colour="red", num_images=Decimal("2.00"), points=[[1.0, 2.0]]),
        line(sku="B", num_images=None, points=[[500.0, 2.0]]),
    ]
    parquet.write_table(Table.from_pylist(rows), shop / "m.parquet")
    (item,), problems = sorted_out(Reader(shop / "m.parquet", STYLES))
    assert len(item.seeds) == 2
    assert problems == ["line 2: points[0]: got 500,2, expected a point inside the 120x80 photo"]


HOSTILE = [
    "../../etc/passwd", "a/b", ".", "..", "...", "con", "NUL.txt", "com1", "☕️", "a.", "a ", " a", "a\nb", "a\\b", "a:b",
    "%2E", "a%2Fb", "-rf", "~", "*", "<script>", "x" * 150,
]  # fmt: skip


def test_any_sku_is_a_safe_file_name_and_no_two_are_the_same(shop):
    names = [file_name(sku) for sku in HOSTILE]
    assert len({name.casefold() for name in names}) == len(HOSTILE)
    for name in names:
        assert name.isascii()
        assert len(name) <= 150
        assert not set(name) & set('/\\:*?"<>| \n')
        assert not name.startswith(".")
        assert not name.endswith((".", " "))
        assert name.partition(".")[0].lower() not in ("con", "nul", "com1")
        (shop / name).mkdir()
        assert (shop / name).parent.samefile(shop)


def test_usual_skus_are_their_own_file_names():
    for sku in ("A1", "shoe_42-red", "v1.2", "console", "0007"):
        assert file_name(sku) == sku
