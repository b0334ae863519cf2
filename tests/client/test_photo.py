"""What a caller's photo may be, and what it becomes."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from packshot import InvalidArgument, Photo, load_photo
from tests.client.pictures import texture


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def closed(image: Image.Image) -> Image.Image:
    image.close()
    return image


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header tells a size and whose pixels are missing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_path_bytes_a_pil_image_and_an_array_are_the_same_photo(tmp_path):
    pixels = texture(30, 20)
    image = Image.fromarray(pixels)
    path = tmp_path / "photo.png"
    image.save(path)
    for source in (path, str(path), encoded(image), image, pixels, load_photo(pixels)):
        photo = load_photo(source)
        np.testing.assert_array_equal(photo.image, pixels)
        assert photo.alpha is None
        assert photo.size == (30, 20)


def test_the_photo_cannot_be_changed_through_the_array_it_came_from():
    pixels = texture(8, 8)
    photo = load_photo(pixels)
    before = photo.image.copy()
    pixels[:] = 0
    np.testing.assert_array_equal(photo.image, before)
    with pytest.raises(ValueError, match="read-only"):
        photo.image[0, 0] = 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    upright = np.zeros((20, 30, 3), np.uint8)
    upright[:10, :15] = 255
    transposed = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    image = Image.fromarray(upright)
    if orientation in transposed:
        image = image.transpose(Image.Transpose(transposed[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = load_photo(encoded(image, exif=exif))
    np.testing.assert_array_equal(photo.image, upright)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("L", "PNG"),
        ("1", "PNG"),
        ("P", "PNG"),
        ("CMYK", "JPEG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("YCbCr", "JPEG"),
    ],
)
def test_every_usual_mode_becomes_rgb(mode, format):
    grey = Image.fromarray(np.full((16, 16, 3), 255, np.uint8)).convert(mode)
    photo = load_photo(encoded(grey, format))
    assert photo.image.dtype == np.uint8
    assert photo.image.shape == (16, 16, 3)
    assert photo.image.min() >= 253


@pytest.mark.parametrize("wide", [0, 1, 128, 32_768, 65_407, 65_535])
def test_sixteen_bits_are_rounded_to_eight(wide):
    sixteen = np.full((4, 4), wide, np.uint16)
    nearest = round(wide * 255 / 65_535)
    for source in (sixteen, encoded(Image.fromarray(sixteen)), encoded(Image.fromarray(sixteen), "TIFF")):
        assert (load_photo(source).image == nearest).all()


def test_a_sixteen_bit_colour_png_works():
    import cv2

    pixels = np.full((4, 4, 3), (0, 32_896, 65_535), np.uint16)
    ok, data = cv2.imencode(".png", pixels[..., ::-1])
    assert ok
    assert load_photo(data.tobytes()).image[0, 0].tolist() == [0, 128, 255]


def test_the_transparent_grey_of_a_sixteen_bit_png_is_kept():
    pixels = np.array([[1000, 1001], [0, 65_535]], np.uint16)
    photo = load_photo(encoded(Image.fromarray(pixels), transparency=1000))
    assert photo.alpha is not None
    assert photo.alpha.tolist() == [[0, 255], [255, 255]]


@pytest.mark.parametrize(
    ("image", "alpha", "message"),
    [
        (None, None, r"photo\.image: got NoneType, expected uint8\[H,W,3\]"),
        (np.zeros((4, 5, 3)), None, r"photo\.image: got float64\[4,5,3\]"),
        (np.zeros((4, 5), np.uint8), None, r"photo\.image: got uint8\[4,5\]"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), r"photo\.alpha: got uint8\[5,4\], expected uint8\[4,5\]"),
    ],
)  # fmt: skip
def test_a_wrong_photo_is_refused(image, alpha, message):
    with pytest.raises(InvalidArgument, match=message):
        Photo(image, alpha)


def test_transparency_is_kept():
    rgba = texture(10, 10, 4)
    photo = load_photo(encoded(Image.fromarray(rgba)))
    np.testing.assert_array_equal(photo.image, rgba[..., :3])
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, rgba[..., 3])
    assert photo.has_transparency
    rgba[..., 3] = 255
    assert not load_photo(rgba).has_transparency


def test_a_palette_with_a_transparent_colour_has_transparency():
    image = Image.new("P", (4, 4))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 1), 1)
    photo = load_photo(encoded(image, transparency=0))
    assert photo.alpha is not None
    assert photo.alpha[0, 0] == 0
    assert photo.alpha[1, 1] == 255


def test_a_colour_profile_is_applied():
    image = Image.fromarray(np.full((4, 4, 3), (200, 100, 50), np.uint8))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_allclose(load_photo(encoded(image, icc_profile=srgb)).image, np.asarray(image), atol=1)


def test_a_broken_colour_profile_is_ignored_with_a_warning(tmp_path):
    image = Image.fromarray(np.full((4, 4, 3), 90, np.uint8))
    path = tmp_path / "odd.png"
    path.write_bytes(encoded(image, icc_profile=b"no profile"))
    with pytest.warns(UserWarning, match=r"photo .*odd\.png: its colour profile was ignored"):
        photo = load_photo(path)
    assert (photo.image == 90).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), r"photo: got 5x0, expected sides from 1"),
        (np.zeros((5, 5, 3), np.float32), r"photo: got float32\[5,5,3\], expected uint8 or uint16"),
        (np.zeros((5, 5, 2), np.uint8), r"photo: got uint8\[5,5,2\]"),
        (np.zeros(5, np.uint8), r"photo: got uint8\[5\]"),
        (np.zeros((1, 20_000, 3), np.uint8), r"photo: got 20000x1, expected sides from 1 to 16384"),
        (b"", "photo: got something that is not an image"),
        (b"hello", "photo: got something that is not an image"),
        (42, "photo: got int, expected a path"),
        ("nowhere.jpg", r"photo nowhere.jpg: got no such file, expected an image file"),
        (png_that_claims(20_000, 100), "photo: got 20000x100, expected sides from 1 to 16384 pixels"),
        (png_that_claims(11_000, 11_000), "photo: got 11000x11000, .* at most 120 megapixels"),
        (png_that_claims(20_000, 20_000), "photo: got more than 178 megapixels"),
        (png_that_claims(10, 10), "photo: got an image that cannot be read"),
        (Image.new("F", (4, 4)), "photo: got floating-point pixels"),
        (Image.new("La", (4, 4)), "photo: got an image that cannot be read .*, expected a complete image"),
        (closed(Image.new("L", (4, 4))), "photo: got an image that cannot be read .*closed"),
        (
            Image.open(io.BytesIO(encoded(Image.new("L", (64, 64)), "JPEG")[:-40])),
            "photo: got an image that cannot",
        ),
        ("", "photo: got an empty path, expected an image file"),
    ],
)
def test_what_is_refused_and_how(source, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidArgument, match=message):
            load_photo(source)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_file_that_breaks_off_is_refused(tmp_path, format):
    whole = encoded(Image.fromarray(texture(64, 64)), format)
    path = tmp_path / "half.img"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidArgument, match=r"half\.img"):
        load_photo(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load_photo(tmp_path)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])  # of TIFF Pillow also warns when its pixels are read
def test_a_photo_of_a_hundred_megapixels_gives_no_decompression_warning(format):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = load_photo(encoded(Image.new("L", (10_000, 10_000)), format))
    assert photo.size == (10_000, 10_000)


def test_photos_loaded_side_by_side_leave_the_filters_of_warnings_as_they_were():
    photo = encoded(Image.new("L", (4, 4)))
    load_photo(photo)
    before = list(warnings.filters)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(load_photo, [photo] * 2000))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before
