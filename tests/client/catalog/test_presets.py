"""Marketplaces' rules, measured on finished files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot import Cutout
from packshot.catalog.delivery import encoded
from packshot.catalog.painting import canvas_for, layers, paint
from packshot.catalog.presets import PRESETS, Rule
from packshot.catalog.styles import Style, changed
from tests.client.fake_triton import FAMILY

AMAZON = PRESETS["amazon-main"]


def drawn(tmp_path: Path, size: tuple[int, int] = (1600, 1600), fill: float = 0.9, suffix: str = "png"):
    """A grey square in the middle of white: the file, its alpha and its pixels."""
    width, height = size
    alpha = np.zeros((height, width), np.uint8)
    dx, dy = round(width * (1 - fill) / 2), round(height * (1 - fill) / 2)
    alpha[dy : height - dy, dx : width - dx] = 255
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[alpha > 0] = 120
    return save(tmp_path, pixels, suffix), alpha, pixels


def save(tmp_path: Path, pixels: np.ndarray, suffix: str = "png") -> Path:
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(pixels).save(path, compress_level=1)
    return path


def broken(rules: tuple[Rule, ...]) -> list[str]:
    return [rule.rule for rule in rules if not rule.passed]


def test_a_picture_that_keeps_all_rules_passes(tmp_path):
    path, alpha, _ = drawn(tmp_path)
    assert broken(AMAZON.check(path, alpha)) == []


def test_one_pixel_off_white_by_one_level_fails(tmp_path):
    _, alpha, pixels = drawn(tmp_path)
    pixels[3, 3, 2] = 254
    (rule,) = (rule for rule in AMAZON.check(save(tmp_path, pixels), alpha) if not rule.passed)
    assert (rule.rule, rule.measured, rule.limit) == ("off_white_pixels", 1, "0 around the product")


@pytest.mark.parametrize(
    ("size", "fill", "rules"),
    [
        ((1500, 1500), 0.9, ["longest_side_px"]),
        ((1600, 499), 0.9, ["shortest_side_px"]),
        ((1600, 1600), 0.8, ["fill"]),
        ((1600, 1600), 0.86, []),
        ((1600, 600), 0.9, []),
    ],
)
def test_sizes_and_fill_are_measured(tmp_path, size, fill, rules):
    path, alpha, _ = drawn(tmp_path, size, fill)
    assert broken(AMAZON.check(path, alpha)) == rules


def test_a_white_product_fills_as_much_as_a_grey_one(tmp_path):
    _, alpha, pixels = drawn(tmp_path)
    pixels[alpha > 0] = 255
    assert broken(AMAZON.check(save(tmp_path, pixels), alpha)) == []


def test_google_has_a_most_for_the_fill_too(tmp_path):
    path, alpha, _ = drawn(tmp_path, fill=0.95)
    assert broken(PRESETS["google-merchant"].check(path, alpha)) == ["fill"]


def test_a_format_that_the_market_does_not_take_fails(tmp_path):
    path, alpha, _ = drawn(tmp_path, suffix="bmp")
    assert broken(AMAZON.check(path, alpha)) == ["format"]
    assert "format" not in broken(PRESETS["google-merchant"].check(path, alpha))


def test_the_format_is_what_the_file_is_not_what_it_is_called(tmp_path):
    path, alpha, pixels = drawn(tmp_path)
    Image.fromarray(pixels).save(path, format="BMP")
    assert broken(AMAZON.check(path, alpha)) == ["format"]


def test_a_file_of_too_many_bytes_fails(tmp_path):
    path, alpha, _ = drawn(tmp_path)
    with path.open("ab") as file:
        file.truncate(AMAZON.max_bytes + 1)
    assert broken(AMAZON.check(path, alpha)) == ["bytes"]


@pytest.mark.parametrize(
    ("market", "size"),
    [
        ("amazon-main", (300, 12)),
        ("amazon-main", (12, 300)),
        ("amazon-main", (4, 4)),
        ("google-merchant", (97, 61)),
    ],
)
def test_a_presets_own_style_keeps_its_rules_whatever_the_products_shape(tmp_path, market, size):
    width, height = size
    photo = np.full((height + 20, width + 20, 3), (230, 40, 90), np.uint8)
    mask = np.zeros(photo.shape[:2], bool)
    mask[10 : 10 + height, 10 : 10 + width] = True
    style = changed(Style(prompt=""), {"preset": market})
    placed = layers(Cutout.from_mask(photo, mask), style, canvas_for(style, FAMILY))
    picture = asyncio.run(paint(None, placed, style, 1, None))
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(picture.image, style.output_format, {}, b""))
    assert broken(PRESETS[market].check(path, placed.delivered.alpha)) == []
    assert picture.measures.failures(style.gate, plain=True) == ()
