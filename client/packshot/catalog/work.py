"""One item's pictures, made and put where nothing is delivered from yet.

Both engines run this: the local one in its own process, Ray on its workers.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from packshot.catalog.cutting import cut_out
from packshot.catalog.delivery import SUFFIXES, encoded, write
from packshot.catalog.items import Item
from packshot.catalog.keys import Keys
from packshot.catalog.painting import Layers, Picture, canvas_for, layers, paint
from packshot.catalog.presets import PRESETS
from packshot.catalog.provenance import xmp
from packshot.cutout import Cutout
from packshot.errors import RepositoryError
from packshot.studio import AsyncStudio

#: Folder of pictures that are made and not yet delivered; named by their keys.
WORK = "work"
#: Folder of the contact sheet's small pictures, named by the keys of cut-outs and pictures.
THUMBNAILS = "sheet"
_THUMBNAIL_PX = 240

Tell = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Task:
    """An item with its keys, and those of its pictures that are made already."""

    item: Item
    keys: Keys
    made: Collection[str]

    @property
    def missing(self) -> list[tuple[int, str]]:
        """Seed and key of each picture that is still to be made."""
        pairs = zip(self.item.seeds, self.keys.pictures, strict=True)
        return [(seed, key) for seed, key in pairs if key not in self.made]


async def make(studio: AsyncStudio, task: Task, folder: Path, tell: Tell) -> None:
    """Make an item's missing pictures.

    Args:
        studio: the server.
        task: what is to be made.
        folder: of the catalogue.
        tell: called with a record for each picture, once its file is on the disk.

    Raises:
        RepositoryError: the server serves something else than the keys say.
        InvalidArgument, Unavailable, DeadlineExceeded, InternalError: see :mod:`packshot.errors`.
        OSError: the disk.
    """
    if not task.missing:
        return
    item = task.item
    await _check_server(studio, task)
    # Refused before SAM works for nothing.
    canvas = canvas_for(item.style, await studio.family())
    began = time.perf_counter()
    cutout = await cut_out(studio, item)
    cut_out_s = time.perf_counter() - began
    placed = await asyncio.to_thread(layers, cutout, item.style, canvas)
    await asyncio.to_thread(_thumbnails, cutout, folder, task.keys.cutout)

    async def one(seed: int, key: str) -> None:
        picture = await paint(studio, placed, item.style, seed, cutout.iou)
        # A request that was tried again may have bridged a restart with other weights.
        await _check_server(studio, task)
        record = await asyncio.to_thread(_store, picture, placed, item, seed, key, folder)
        record["timings_s"] = {"cut_out": round(cut_out_s, 4), **record["timings_s"]}
        await tell(record)

    # One after the other: what runs beside each other is items, as many as the operator allows.
    for seed, key in task.missing:
        await one(seed, key)


def work_path(folder: Path, key: str, item: Item) -> Path:
    """Where a picture lies until its item is settled."""
    return folder / WORK / f"{key}{SUFFIXES[item.style.output_format]}"


async def _check_server(studio: AsyncStudio, task: Task) -> None:
    if await studio.artifacts() != task.keys.artifacts:
        raise RepositoryError(
            "server: got another model repository than when the run began, expected the same. "
            "Run the same command again to make everything with the new one"
        )


def _store(picture: Picture, placed: Layers, item: Item, seed: int, key: str, folder: Path) -> dict[str, Any]:
    """Write the picture's file; returns its record."""
    style = item.style
    made_by = {
        "sku": item.sku,
        "prompt": style.prompt,
        "negative_prompt": style.negative_prompt,
        "seed": seed,
        **picture.parameters,
    }
    tool = f"packshot {version('packshot')}"
    began = time.perf_counter()
    content = encoded(picture.image, style.output_format, made_by, xmp(style.background is None, tool))
    path = work_path(folder, key, item)
    write(path, content)
    rules = () if style.preset is None else PRESETS[style.preset].check(path, placed.delivered.alpha)
    write(folder / THUMBNAILS / f"{key}.jpg", _small(picture.image))
    timings_s = {**picture.timings_s, "encode": time.perf_counter() - began}
    return {
        "kind": "picture",
        "sku": item.sku,
        "key": key,
        "seed": seed,
        "parameters": picture.parameters,
        "num_truncated_tokens": picture.num_truncated_tokens,
        "sha256": hashlib.sha256(content).hexdigest(),
        "gate": asdict(picture.measures),
        "preset": [asdict(rule) for rule in rules],
        "timings_s": {stage: round(seconds, 4) for stage, seconds in timings_s.items()},
    }


def _thumbnails(cutout: Cutout, folder: Path, key: str) -> None:
    """The photo and the cut-out on a light grey, for the contact sheet."""
    photo = Image.fromarray(cutout.image)
    grey = Image.new("RGB", photo.size, (236, 236, 236))
    cut = np.asarray(Image.composite(photo, grey, Image.fromarray(cutout.alpha)))
    write(folder / THUMBNAILS / f"{key}-photo.jpg", _small(cutout.image))
    write(folder / THUMBNAILS / f"{key}-cutout.jpg", _small(cut))


def _small(image: np.ndarray) -> bytes:
    height, width = image.shape[:2]
    shrink = min(1.0, _THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    written, content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not written:
        raise OSError("a JPEG could not be encoded")
    return content.tobytes()
