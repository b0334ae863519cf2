"""Pillow on files that may be anything: which formats, and its errors in our words."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

from packshot.errors import InvalidArgument, expected

_MAX_SIDE_PX = 16_384
_MAX_PIXELS = 120_000_000
_SIZE_LIMIT = f"sides from 1 to {_MAX_SIDE_PX} pixels, at most {_MAX_PIXELS // 10**6} megapixels"

#: Formats for photos. Pillow reads more, some by starting other programs; a photo needs none of those.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "JPEG2000", "PPM")
#: What Pillow raises on broken files, closed images and modes it cannot convert, besides OSError.
_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error, zlib.error,
)  # fmt: skip


class _NoSizeWarnings:
    """While anybody is in here, Pillow warns of no size: we have limits of our own, and name them.

    Filters of warnings belong to the process. So the first to come in sets them and the last to leave puts
    them back; each on its own would put back what another had set.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._filters = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.close()


_no_size_warnings = _NoSizeWarnings()


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Pillow's errors as InvalidArgument, and none of its warnings about size.

    Args:
        what: names the image in messages.
    """
    try:
        with _no_size_warnings:
            yield
    except InvalidArgument:
        raise
    except FileNotFoundError:
        raise expected(what, "no such file", "an image file") from None
    except Image.DecompressionBombError:
        raise expected(what, "more than 178 megapixels", _SIZE_LIMIT) from None
    except Image.UnidentifiedImageError:
        raise expected(what, "something that is not an image", "an image file such as JPEG or PNG") from None
    except _ERRORS as error:
        raise expected(what, f"an image that cannot be read ({error})", "a complete image") from None


def check_size(what: str, width: int, height: int) -> None:
    """Refuse a picture of no pixels, or of more than is sensible.

    Raises:
        InvalidArgument: it is too small or too large.
    """
    if not (1 <= width <= _MAX_SIDE_PX and 1 <= height <= _MAX_SIDE_PX and width * height <= _MAX_PIXELS):
        raise expected(what, f"{width}x{height}", _SIZE_LIMIT)


def opened(file: Path | IO[bytes]) -> Image.Image:
    """The image in a file of one of the formats for photos; to be used while :func:`decoding`."""
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise OSError("it is no regular file")  # a pipe would be waited for
    Image.init()
    return Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
