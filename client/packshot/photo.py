"""Photos as callers have them, turned into what the rest of packshot works on."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from packshot.arrays import describe, frozen
from packshot.errors import InvalidArgument, expected

MAX_SIDE_PX = 16_384
MAX_PIXELS = 120_000_000

#: Formats for photos. Pillow reads more, some by starting other programs; a photo needs none of those.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "JPEG2000", "PPM")
#: What Pillow's decoders raise on broken files, besides OSError.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo in memory, upright.

    Attributes:
        image: uint8 [H, W, 3], sRGB.
        alpha: uint8 [H, W], 255 opaque; None if the photo has no transparency.
    """

    image: np.ndarray
    alpha: np.ndarray | None = None

    def __post_init__(self) -> None:
        height, width = self.image.shape[:2]
        _check_size("photo", width, height)
        object.__setattr__(self, "image", frozen(self.image))
        if self.alpha is not None:
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
        The photo. Greyscale, palette, CMYK and 16-bit images work; 16 bits are rounded to 8.

    Raises:
        InvalidArgument: no such file, not an image, broken, empty, a side above 16384 pixels or
            above 120 megapixels. The size is checked before anything is decoded.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil(source, "photo")
    if isinstance(source, bytes):
        return _from_file(io.BytesIO(source), "photo")
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source), f"photo {os.fspath(source)}")
    raise expected("photo", type(source).__name__, "a path, bytes, a PIL image or a numpy array")


def _from_file(file: Path | io.BytesIO, what: str) -> Photo:
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            # We have our own limits on size, and name them when they are passed.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=formats) as image:
                return _from_pil(image, what)
    except InvalidArgument:
        raise
    except FileNotFoundError:
        raise expected(what, "no such file", "an image file") from None
    except Image.DecompressionBombError:
        raise expected(what, "more than 178 megapixels", _SIZE_LIMIT) from None
    except Image.UnidentifiedImageError:
        raise expected(what, "something that is not an image", "an image file such as JPEG or PNG") from None
    except _DECODE_ERRORS as error:
        raise expected(what, f"a file that cannot be read ({error})", "a complete image file") from None


def _from_pil(image: Image.Image, what: str) -> Photo:
    _check_size(what, *image.size)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        return _from_array(_sixteen_bits(upright, what))
    if upright.mode == "F":
        raise expected(what, "floating-point pixels", "8 or 16 bits for each channel")
    alpha = None
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        upright = rgba
    return Photo(np.asarray(_to_srgb(upright, image.info.get("icc_profile"))), alpha)


def _sixteen_bits(image: Image.Image, what: str) -> np.ndarray:
    values = np.asarray(image)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65_535:
        raise expected(what, "32-bit pixels", "8 or 16 bits for each channel")
    return values.astype(np.uint16)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB. Phones save photos in wider colour spaces; read as sRGB they would look dull."""
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        rgb = image.convert("RGB") if image.mode == "RGBA" else image
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                rgb, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError) as error:
            warnings.warn(f"the photo's colour profile was ignored: {error}", stacklevel=2)
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Photo:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise expected("photo", describe(array), "uint8 or uint16, [H,W], [H,W,3] or [H,W,4]")
    _check_size("photo", array.shape[1], array.shape[0])
    if array.dtype == np.uint16:
        # round(value · 255 / 65535), in integers.
        array = ((array.astype(np.uint32) * 255 + 32_895) >> 16).astype(np.uint8)
    array = array.reshape(*array.shape[:2], channels)
    if channels == 1:
        array = np.repeat(array, 3, axis=2)
    return Photo(array[..., :3], array[..., 3] if channels == 4 else None)


_SIZE_LIMIT = f"sides from 1 to {MAX_SIDE_PX} pixels, at most {MAX_PIXELS // 10**6} megapixels"


def _check_size(what: str, width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX and width * height <= MAX_PIXELS):
        raise expected(what, f"{width}x{height}", _SIZE_LIMIT)
