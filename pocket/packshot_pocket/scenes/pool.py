"""A pool of rendered pictures: shards of arrays, drawn by several processes, mapped into memory.

A shard depends on its number and the renderer alone, so a pool can grow, be drawn in several goes or by
several commands at once, and always holds the same pictures; another renderer's lie in another folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from packshot.canvas import GREY
from packshot.edges import canny
from packshot_pocket.renderer import render_snapshot, render_studio, renderer_version

Kind = Literal["studio", "snapshot"]

#: Pictures of a shard.
SHARD = 128
#: Parameters of glibc's ``mallopt``, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures of the training split.

    Attributes:
        directory: of the shards.
        kind: studio scenes have ``images``, ``composites``, ``alphas``, ``product_edges``,
            ``scene_edges`` and captions; snapshots only ``images``.
        count: pictures, a multiple of ``SHARD``.
        size: of the square pictures, in pixels.
    """

    directory: Path
    kind: Kind
    count: int
    size: int = 256

    def __post_init__(self) -> None:
        if self.count < SHARD or self.count % SHARD:
            raise ValueError(f"pool.count: got {self.count}, expected a multiple of {SHARD} above 0")

    @property
    def shards(self) -> int:
        """How many there are."""
        return self.count // SHARD

    def path(self, name: str, shard: int) -> Path:
        """File of an array of a shard; ``captions`` is JSON and written last."""
        suffix = "json" if name == "captions" else "npy"
        folder = self.directory / f"{self.kind}-{self.size}-{renderer_version()}"
        return folder / f"{name}-{shard:05d}.{suffix}"

    def arrays(self, name: str) -> Iterator[np.ndarray]:
        """An array, shard after shard: uint8 [SHARD, size, size, …], mapped, read-only."""
        for shard in range(self.shards):
            yield np.load(self.path(name, shard), mmap_mode="r")

    def captions(self) -> list[str]:
        """Of all scenes, in order."""
        shards = (json.loads(self.path("captions", shard).read_text()) for shard in range(self.shards))
        return [caption for captions in shards for caption in captions]

    def fill(self, workers: int) -> None:
        """Draw the shards that are missing.

        Args:
            workers: processes that draw.
        """
        missing = [shard for shard in range(self.shards) if not self.path("captions", shard).is_file()]
        if not missing:
            return
        started, done = time.monotonic(), 0
        # Fresh processes: forked ones would inherit torch's threads and locks.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max(1, workers), mp_context=context, initializer=_settle) as executor:
            for future in as_completed([executor.submit(self.draw, shard) for shard in missing]):
                future.result()
                done += 1
                speed = done * SHARD / (time.monotonic() - started)
                left = (len(missing) - done) * SHARD / speed
                sys.stderr.write(
                    f"render {self.kind}  {done * SHARD}/{len(missing) * SHARD}  "
                    f"{speed:.1f} pictures/s  ETA {left / 60:.1f} min\n"
                )

    def draw(self, shard: int) -> None:
        """Draw one shard."""
        self.path("captions", shard).parent.mkdir(parents=True, exist_ok=True)
        seeds = range(shard * SHARD, (shard + 1) * SHARD)
        if self.kind == "snapshot":
            pictures = np.stack([render_snapshot(seed, self.size).image for seed in seeds])
            _write(self.path("images", shard), pictures)
            captions = [""] * SHARD
        else:
            scenes = [render_studio(seed, self.size) for seed in seeds]
            _write(self.path("images", shard), np.stack([scene.image for scene in scenes]))
            composites = [composite(scene.foreground, scene.alpha) for scene in scenes]
            _write(self.path("composites", shard), np.stack(composites))
            _write(self.path("alphas", shard), np.stack([scene.alpha for scene in scenes]))
            product = [
                canny(image, alpha=scene.alpha) for image, scene in zip(composites, scenes, strict=True)
            ]
            _write(self.path("product_edges", shard), pack_edges(product))
            _write(self.path("scene_edges", shard), pack_edges([canny(scene.image) for scene in scenes]))
            captions = [scene.caption for scene in scenes]
        path = self.path("captions", shard)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        scratch.write_text(json.dumps(captions))
        os.replace(scratch, path)


def composite(foreground: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The product on the grey canvas, as :func:`packshot.compose` makes ``Composition.image``.

    Args:
        foreground: uint8 [H, W, 3], unmixed.
        alpha: uint8 [H, W].
    """
    return np.where(alpha[..., None] > 0, foreground, np.uint8(GREY))


def pack_edges(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Edge maps, uint8 [H, W] each, as uint8 [N, H, W/8], eight pixels a byte."""
    return np.packbits(np.stack(maps) > 0, axis=2)


def _write(path: Path, array: np.ndarray) -> None:
    scratch = path.with_name(f".{os.getpid()}.{path.name}")
    np.save(scratch, array)
    os.replace(scratch, path)


def _settle() -> None:
    """Make a worker fast: one thread, and memory that is kept instead of given back and asked for again."""
    cv2.setNumThreads(0)
    with contextlib.suppress(OSError, AttributeError):  # glibc's; others do as they like
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)
