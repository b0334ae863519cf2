"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from packshot.catalog.styles import Format
from packshot.png import write_png

SUFFIXES: Mapping[Format, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
#: 4:4:4, since products are red as often as shops are not.
_JPEG = {"quality": 95, "subsampling": 0}
_WEBP = {"quality": 95, "method": 4}
#: No file is being written for as long as this.
_OUT_OF_USE_S = 3600
_XMP_KEY = "XML:com.adobe.xmp"


def encoded(image: np.ndarray, form: Format, made_by: Mapping[str, Any], xmp: bytes) -> bytes:
    """A finished picture as a file.

    Args:
        image: uint8 [H, W, 3].
        form: of the file.
        made_by: plain JSON values, which a PNG carries as :mod:`packshot.png` writes them.
        xmp: see :func:`packshot.catalog.provenance.xmp`.
    """
    picture, file = Image.fromarray(image), io.BytesIO()
    if form == "png":
        write_png(file, image, made_by, {_XMP_KEY: xmp.decode()})
    elif form == "jpeg":
        picture.save(file, "JPEG", xmp=xmp, **_JPEG)
    else:
        picture.save(file, "WEBP", xmp=xmp, **_WEBP)
    return file.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write a file; it is on the disk, under its name and whole, when this returns.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".packshot-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, document: Any) -> None:
    """The same of JSON."""
    write(path, (json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode())


def move(source: Path, target: Path) -> None:
    """Rename a file, and have the disk know it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync(target.parent)


def sync(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget_partial(folder: Path, shared: bool) -> None:
    """Remove what killed runs left half written.

    Args:
        folder: of the catalogue.
        shared: whether other shards may be writing there; then only what is long out of use goes.
    """
    for path in folder.rglob(".packshot-*"):
        with contextlib.suppress(FileNotFoundError):
            if not shared or time.time() - path.stat().st_mtime > _OUT_OF_USE_S:
                path.unlink()
