"""Styles: a YAML file of how pictures shall look; what is wrong in it is told in the operator's words."""

from __future__ import annotations

from textwrap import dedent

import pytest

from packshot import InvalidArgument
from packshot.catalog.gate import Thresholds
from packshot.catalog.layout import Layout
from packshot.catalog.styles import Style, load_styles, rgb


@pytest.fixture
def load(tmp_path):
    """Read text as a file of styles."""

    def load(text: str) -> dict[str, Style]:
        path = tmp_path / "styles.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return load_styles(path)

    return load


def style(load, **fields: str) -> Style:
    """One style with these lines of YAML."""
    return load("styles:\n  one:\n" + "".join(f"    {name}: {value}\n" for name, value in fields.items()))[
        "one"
    ]


def test_a_style_says_what_is_painted_where_how_and_how_good_it_must_be(load):
    styles = load("""
        styles:
          beach:
            prompt: "a {colour} {name} on a sunny beach"
            negative_prompt: people
            aspect_ratio: "4:5"
            padding: 0.12
            vertical_alignment: bottom
            output_format: jpeg
            parameters: {num_inference_steps: 25, controlnet_conditioning_scale: [0.5, 0.3]}
            gate: {min_edge_f1_rim: 0.4, max_product_difference: null}
          shop:
            preset: amazon-main
    """)
    assert styles["beach"] == Style(
        prompt="a {colour} {name} on a sunny beach",
        negative_prompt="people",
        aspect_ratio="4:5",
        layout=Layout(padding=0.12, vertical_alignment="bottom"),
        output_format="jpeg",
        parameters={"num_inference_steps": 25, "controlnet_conditioning_scale": (0.5, 0.3)},
        gate=Thresholds(min_edge_f1_rim=0.4, max_product_difference=None),
    )
    assert styles["beach"].columns == {"colour", "name"}
    assert styles["shop"].background == (255, 255, 255)


def test_a_presets_fields_may_be_set_otherwise(load):
    shop = style(load, preset="amazon-main", fill="0.95", output_size="[2000, 2000]")
    assert (shop.preset, shop.layout.fill, shop.output_size) == ("amazon-main", 0.95, (2000, 2000))
    assert shop.background_color == "#ffffff"


@pytest.mark.parametrize("written", ["[640, 480]", '"640x480"', "640X480"])
def test_sizes_are_pairs_or_text(load, written):
    assert style(load, prompt="x", canvas=written).canvas == (640, 480)


@pytest.mark.parametrize(
    "written", ["640", "[640]", "640x", "axb", "[640, 0]", "[640.5, 480]", "[1, 2, 3]", "{w: 1}", "-1x5"]
)
def test_other_sizes_are_refused(load, written):
    with pytest.raises(InvalidArgument, match=r"style one: output_size: got .*, expected width and height"):
        style(load, prompt="x", output_size=written)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"promt": "x"}, "style: got 'promt', expected some of prompt"),
        ({"prompt": "x", "parameters": "{steps: 5}"}, "parameters of a style: got 'steps', expected some of num_inf"),
        ({"prompt": "x", "parameters": "5"}, "parameters: got 5, expected names with values"),
        ({"prompt": "x", "gate": "{min_edge_f1: 1}"}, "gate of a style: got 'min_edge_f1', expected some of max_pro"),
        ({"prompt": "x", "gate": "{min_edge_f1_rim: 1.5}"}, "gate.min_edge_f1_rim: got 1.5, expected a number from 0 to 1"),
        ({"prompt": "x", "gate": "{allow_blank: 1}"}, "gate.allow_blank: got 1, expected true or false"),
        ({"prompt": "5"}, "prompt: got 5, expected text"),
        ({"preset": "amazon"}, "preset: got 'amazon', expected one of amazon-main"),
        ({"preset": "[amazon-main]"}, r"preset: got \['amazon-main'\], expected one of amazon-main"),
        ({"padding": "0.1"}, "prompt and background_color: got neither of them, expected one of them"),
        ({"background_color": "#ffffff"}, "needs its quotes in YAML"),
        ({"preset": "amazon-main", "prompt": "a cup"}, "prompt and background_color: got both"),
        ({"preset": "amazon-main", "output_format": "jpeg"}, "output_format: got 'jpeg', expected png, as amazon-main"),
        ({"preset": "amazon-main", "shadow": "soft"}, "shadow: got 'soft', expected none, as amazon-main wants pure white"),
        ({"preset": "amazon-main", "background_color": "'#fefefe'"}, "background_color: got '#fefefe', expected #ffffff"),
        ({"prompt": "x", "aspect_ratio": "4:5"}, "aspect_ratio: got 245, expected W:H in quotes, from 1:4 to 4:1"),
        ({"prompt": "x", "aspect_ratio": '"5:1"'}, "aspect_ratio: got '5:1', expected W:H"),
        ({"prompt": "x", "canvas": "[512, 512]", "output_size": "[1000, 1500]"}, "got 1000x1500, expected the shape of"),
        ({"prompt": "x", "1": "2"}, "style: got 1, expected some of"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_style(load, fields, message):
    with pytest.raises(InvalidArgument, match=f"style one: {message}|style one: .*{message}"):
        style(load, **fields)


def test_all_wrong_styles_are_named(load):
    with pytest.raises(InvalidArgument) as told:
        load("styles: {a: {fill: 2, prompt: x}, b: 5, c: {prompt: x}, d: {}}")
    assert [name for name in "abcd" if f"style {name}:" in str(told.value)] == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("styles: [", "expected a YAML file"),
        ("styles: {a: !!python/object:os.system {}}", "expected a YAML file"),
        ("styles: {a: {prompt: 2024-13-45}}", "month must be in 1..12.*, expected a YAML file"),
        ("[" * 500, "expected a YAML file"),
        ("", "without any, expected a mapping 'styles'"),
        ("styles:", "without any, expected a mapping 'styles'"),
        ("styles: [a]", "without any, expected a mapping 'styles'"),
        ("style: {a: {prompt: x}}", "without any, expected a mapping 'styles'"),
    ],
)
def test_a_file_without_styles_is_refused(load, text, message):
    with pytest.raises(InvalidArgument, match=message):
        load(text)


@pytest.mark.parametrize(
    "text", ["styles: {a: {prompt: x}, a: {prompt: y}}", "styles: {a: {prompt: x, prompt: y}}"]
)
def test_a_name_that_is_there_twice_is_refused(load, text):
    with pytest.raises(InvalidArgument, match="is there twice"):
        load(text)


def test_pieces_of_yaml_may_be_shared(load):
    styles = load("""
        common: &common {padding: 0.2, negative_prompt: people}
        styles:
          a: {<<: *common, prompt: sea}
          b: {<<: *common, prompt: wood, padding: 0.3}
    """)
    assert (styles["a"].negative_prompt, styles["a"].layout.padding, styles["b"].layout.padding) == (
        "people",
        0.2,
        0.3,
    )


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="No such file"):
        load_styles(tmp_path / "styles.yaml")
    (tmp_path / "styles.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArgument, match="expected a YAML file"):
        load_styles(tmp_path / "styles.yaml")


def test_a_template_takes_columns_as_they_are(load):
    template = style(load, prompt='"{{{name}}} {Product Name}, 50 %"')
    filled = template.of_line({}, {"name": "{cup}", "Product Name": 7})
    assert filled.prompt == "{{cup}} 7, 50 %"


@pytest.mark.parametrize(
    "template", ["{", "}", "{}", "{0}", "{a:>10}", "{a!r}", "{a.b}", "{a[0]}", "{a:{b}}", "{ a}"]
)
def test_a_template_has_nothing_but_columns_in_its_braces(load, template):
    with pytest.raises(
        InvalidArgument, match=r"prompt: got .*, expected (text with {column}|the name of a column)"
    ):
        style(load, prompt=f'"{template}"')


def test_all_missing_columns_are_named():
    with pytest.raises(InvalidArgument, match="prompt: got no value in column 'b', 'c', expected one"):
        Style(prompt="{a} {b}", negative_prompt="{c}").of_line({}, {"a": "x"})


def test_colours_are_written_as_in_html():
    assert rgb("#Ff8000") == (255, 128, 0)
    for wrong in ("ff8000", "#ff80", "#ff800g", "#ff80000", "＃ff8000", "#ff８000", None, 0xFF8000):
        with pytest.raises(InvalidArgument, match=r"background_color: got .*, expected #rrggbb"):
            rgb(wrong)
