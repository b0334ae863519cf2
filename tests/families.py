"""Exported families for tests: made once for a version of the exporter and of its libraries.

They lie in ``.cache/families``, which git ignores and anyone may delete. Whoever needs one that is not there
makes it; ``python -m tests.families`` makes all, beside each other.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import torch

from packshot.family import Precision
from packshot_export.families import SPECS

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "families"
#: What the bytes of an export depend on.
SOURCES = ("export", "client/packshot/contract.py", "client/packshot/family.py")
LIBRARIES = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "numpy")


#: What tests ask for.
USED: tuple[tuple[str, Precision], ...] = (("tiny-sd2", "fp32"), ("tiny-sd15", "fp32"), ("shallow", "fp16"))
#: Families that are there for the tests alone. ``shallow`` has half the levels: every layer, in half the time.
OTHERS = {"shallow": replace(SPECS["tiny-sd2"], block_out_channels=(8, 16), attention_head_dim=(1, 2))}


@functools.cache
def exported(name: str, precision: Precision = "fp32") -> tuple[Path, Path]:
    """A random family's checkpoints (``diffusion``, ``controlnet``…, ``sam``) and its repository.

    Callers must not change either; copy them first.
    """
    from packshot.catalog.delivery import write
    from packshot.family import Manifest
    from packshot_serving.repository import Deployment, config_files

    directory = _made(name, precision)
    repository = directory / "repository"
    # Configs and adapters follow the serving sources, which the key leaves out: they cost nothing.
    manifest = Manifest.read(repository)
    for path, text in config_files(manifest.family, Deployment(manifest.digest)).items():
        # As many slots on every machine: tests say who waits for whom. In one go: another process may be
        # reading it.
        write(repository / path, text.replace('"auto"', '"4"').encode())
    return directory / "checkpoints", repository


def controlnets(checkpoints: Path) -> list[Path]:
    """A family's ControlNets, in order."""
    return sorted(checkpoints.glob("controlnet*"))


def _made(name: str, precision: Precision) -> Path:
    directory = CACHE / f"{name}-{precision}-{_key()}"
    if not directory.is_dir():
        _make(name, precision, directory)
    os.utime(directory)
    return directory


def _make(name: str, precision: Precision, directory: Path) -> None:
    from packshot_export.export import export_repository
    from packshot_export.families import write_checkpoints

    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        fresh = Path(scratch) / name
        checkpoints = fresh / "checkpoints"
        write_checkpoints({**SPECS, **OTHERS}[name], checkpoints)
        export_repository(
            checkpoints / "diffusion",
            controlnets(checkpoints),
            checkpoints / "sam",
            fresh / "repository",
            precision,
            name=name,
        )
        if not directory.is_dir():  # another run may have been faster
            fresh.rename(directory)
    _forget_old()


def _forget_old() -> None:
    """Drop what no run has used for a day; a run of other sources may be going on beside this one."""
    for path in CACHE.iterdir():
        if time.time() - path.stat().st_mtime > 24 * 3600:
            shutil.rmtree(path, ignore_errors=True)


@functools.cache
def _key() -> str:
    digest = hashlib.sha256()
    for source in SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}".encode())
    return digest.hexdigest()[:16]


def main() -> None:
    """Make what is not there: a trace keeps one core busy, whatever the machine has."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=fresh, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        made = {pool.submit(_made, *each): each for each in USED}
        for future in as_completed(made):
            future.result()
            sys.stderr.write(f"tests: the family {' in '.join(made[future])} is there\n")


if __name__ == "__main__":
    main()
