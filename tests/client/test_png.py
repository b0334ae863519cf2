"""PNG files and what they carry."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from packshot import Cutout, InvalidArgument, read_made_by
from tests.client.pictures import product, texture
from tests.client.test_photo import png_that_claims


def test_a_name_as_long_as_a_file_system_takes_is_no_obstacle(tmp_path):
    path = tmp_path / ("x" * 250 + ".png")
    product().save(path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["x" * 260 + ".png", "a\0.png", "folder.png", "nowhere/cup.png"])
def test_a_place_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InvalidArgument, match=r"(?s)output: got .*expected a place to write to"):
        product().save(tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == ["folder.png"]


def test_numpys_numbers_can_be_saved(tmp_path):
    image = texture(8, 8)
    Cutout(image, image[..., 0], iou=np.float32(0.5)).save(tmp_path / "cup.png")
    assert read_made_by(tmp_path / "cup.png") == {"iou": 0.5}


def test_an_image_of_others_carries_nothing(tmp_path):
    Image.fromarray(texture(8, 8)).save(tmp_path / "photo.jpg")
    assert read_made_by(tmp_path / "photo.jpg") == {}


@pytest.mark.parametrize("text", ["{", "[1]", "7", "[" * 100_000])
def test_a_text_that_is_not_ours_is_refused(tmp_path, text):
    info = PngInfo()
    info.add_itxt("packshot", text)
    Image.new("L", (4, 4)).save(tmp_path / "other.png", pnginfo=info)
    with pytest.raises(
        InvalidArgument, match=r"other\.png: got the text .* under 'packshot', expected a JSON object"
    ):
        read_made_by(tmp_path / "other.png")


def test_what_is_no_image_or_too_large_is_refused(tmp_path):
    (tmp_path / "huge.png").write_bytes(png_that_claims(20_000, 20_000))
    with pytest.raises(InvalidArgument, match=r"huge\.png: got more than 178 megapixels"):
        read_made_by(tmp_path / "huge.png")
    with pytest.raises(InvalidArgument, match=r"none\.png: got no such file"):
        read_made_by(tmp_path / "none.png")
