"""PNG files that carry how they were made.

What made the picture stands in one iTXt chunk with the key ``packshot``: a JSON object in UTF-8.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from packshot.arrays import shown
from packshot.decoding import decoding, opened
from packshot.errors import expected

TEXT_KEY = "packshot"


def save_png(path: str | os.PathLike[str], pixels: np.ndarray, made_by: Mapping[str, Any]) -> None:
    """Write a PNG; an existing file is replaced, at once or not at all.

    Args:
        path: ends in ``.png``.
        pixels: uint8 [H, W, 3] or [H, W, 4].
        made_by: plain JSON values.

    Raises:
        InvalidArgument: another suffix, or the file cannot be written there.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise expected("output", str(path), "a name that ends in .png")
    # Its own name, not the file's: that may be as long as a name can be already.
    partial = path.with_name(f".packshot-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        try:
            with partial.open("xb") as file:
                write_png(file, pixels, made_by)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise expected("output", f"{path} ({why})", "a place to write to") from None


def write_png(
    file: BinaryIO, pixels: np.ndarray, made_by: Mapping[str, Any], texts: Mapping[str, str] = {}
) -> None:
    """Encode a PNG.

    Args:
        file: open for writing.
        pixels: uint8 [H, W, 3] or [H, W, 4].
        made_by: plain JSON values, which :func:`read_made_by` finds.
        texts: further ones, by their keys.
    """
    info = PngInfo()
    for key, text in {TEXT_KEY: json.dumps(made_by, ensure_ascii=False, allow_nan=False), **texts}.items():
        info.add_itxt(key, text)
    # Of filtered photos run lengths are as short as zlib's default, in a quarter of the time.
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info, compress_type=zlib.Z_RLE)


def read_made_by(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What made a PNG that packshot wrote; empty for any other image.

    Raises:
        InvalidArgument: the file is not an image, or what it carries under our key is not ours.
    """
    what = f"png {os.fspath(path)}"
    with decoding(what), opened(Path(path)) as image:
        text = image.info.get(TEXT_KEY, "{}")
    try:
        made_by = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        made_by = None
    if not isinstance(made_by, dict):
        raise expected(what, f"the text {shown(text)} under '{TEXT_KEY}'", "a JSON object")
    return made_by
