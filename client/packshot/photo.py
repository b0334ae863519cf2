"""Photos as callers have them, turned into what the rest of packshot works on."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from packshot.arrays import check_uint8, describe, frozen
from packshot.decoding import check_size, decoding, opened
from packshot.errors import expected


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo in memory, upright.

    Attributes:
        image: uint8 [H, W, 3], sRGB.
        alpha: uint8 [H, W], 255 opaque; None if the photo has no transparency.

    Raises:
        InvalidArgument: shapes or dtypes are wrong, or it is too large.
    """

    image: np.ndarray
    alpha: np.ndarray | None = None

    def __post_init__(self) -> None:
        height, width, _ = check_uint8("photo.image", self.image, "H", "W", 3).shape
        check_size("photo", width, height)
        object.__setattr__(self, "image", frozen(self.image))
        if self.alpha is not None:
            check_uint8("photo.alpha", self.alpha, height, width)
            object.__setattr__(self, "alpha", frozen(self.alpha))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def has_transparency(self) -> bool:
        """Whether any pixel is not opaque: such a photo is a cut-out already."""
        return self.alpha is not None and bool((self.alpha < 255).any())


#: What :func:`load_photo` takes: a path, an encoded file, a PIL image, an array, or a loaded photo.
PhotoSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Photo


def load_photo(source: PhotoSource) -> Photo:
    """Read a photo: EXIF rotation applied, colours brought to 8-bit sRGB.

    Args:
        source: path of an image file, its bytes, a PIL image, or an array uint8 or uint16 of shape
            [H, W], [H, W, 3] (RGB) or [H, W, 4] (RGBA).

    Returns:
        The photo. Greyscale, palette, CMYK and 16-bit images work. 16 bits are
        rounded to 8 in arrays and greyscale files; of colour files Pillow keeps the upper 8.

    Raises:
        InvalidArgument: no such file, not an image, broken, empty, a side above 16384 pixels or
            above 120 megapixels. The size is checked before anything is decoded.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        with decoding("photo"):
            return _from_pil(source, "photo")
    if isinstance(source, bytes):
        return _from_file(io.BytesIO(source), "photo")
    if isinstance(source, str | os.PathLike):
        if not os.fspath(source):
            raise expected("photo", "an empty path", "an image file")
        return _from_file(Path(source), f"photo {os.fspath(source)}")
    raise expected("photo", type(source).__name__, "a path, bytes, a PIL image or a numpy array")


def _from_file(file: Path | io.BytesIO, what: str) -> Photo:
    with decoding(what), opened(file) as image:
        return _from_pil(image, what)


def _from_pil(image: Image.Image, what: str) -> Photo:
    check_size(what, *image.size)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        return _sixteen_bits(upright, what)
    if upright.mode == "F":
        raise expected(what, "floating-point pixels", "8 or 16 bits for each channel")
    alpha = None
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        upright = rgba
    return Photo(np.asarray(_to_srgb(upright, image.info.get("icc_profile"), what)), alpha)


def _sixteen_bits(image: Image.Image, what: str) -> Photo:
    values = np.asarray(image)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65_535:
        raise expected(what, "32-bit pixels", "8 or 16 bits for each channel")
    photo = _from_array(values.astype(np.uint16))
    # The one grey that a PNG may declare transparent; two greys can be the same once rounded.
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return photo
    return Photo(photo.image, np.where(values == transparent, np.uint8(0), np.uint8(255)))


def _to_srgb(image: Image.Image, profile: bytes | None, what: str) -> Image.Image:
    """RGB in sRGB. Phones save photos in wider colour spaces; read as sRGB they would look dull."""
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        rgb = image.convert("RGB") if image.mode == "RGBA" else image
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                rgb, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError) as error:
            warnings.warn(f"{what}: its colour profile was ignored: {error}", stacklevel=2)
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Photo:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise expected("photo", describe(array), "uint8 or uint16, [H,W], [H,W,3] or [H,W,4]")
    check_size("photo", array.shape[1], array.shape[0])
    if array.dtype == np.uint16:
        # round(value · 255 / 65535), in integers.
        array = ((array.astype(np.uint32) * 255 + 32_895) >> 16).astype(np.uint8)
    array = array.reshape(*array.shape[:2], channels)
    if channels == 1:
        array = np.repeat(array, 3, axis=2)
    return Photo(array[..., :3], array[..., 3] if channels == 4 else None)
