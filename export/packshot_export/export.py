"""Checkpoints → a repository that is proven, complete and in place, or an error and nothing at all."""

from __future__ import annotations

import copy
import importlib.metadata
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from packshot.contract import ARTIFACTS, MODELS, TOKENIZER_FILE
from packshot.errors import ExportError, InvalidArgument
from packshot.family import MANIFEST_FILE, Manifest, Precision, sha256
from packshot_export import parity
from packshot_export.components import Component, components
from packshot_export.onnx_graph import write_graph
from packshot_export.parts import Parts, open_parts
from packshot_export.tokenizer_file import write_tokenizer

_EXPORTERS = ("packshot", "torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Exported:
    """An artifact that is written and proven."""

    name: str
    seconds: float
    differences: tuple[parity.Difference, ...]


def export_repository(
    diffusion: str | Path,
    controlnets: Sequence[str | Path],
    sam: str | Path,
    repository: str | Path,
    precision: Precision = "fp32",
    progress: Callable[[str | Exported], None] | None = None,
    name: str | None = None,
) -> Manifest:
    """Export checkpoints into a complete model repository.

    Args:
        diffusion: directory or hub id (``OWNER/NAME`` or ``OWNER/NAME@REVISION``) of a Stable Diffusion
            inpainting pipeline.
        controlnets: the same of its ControlNets, at least one.
        sam: the same of a SAM.
        repository: directory to make; a repository that is already there is replaced.
        precision: of the weights and of the arithmetic inside the graphs.
        progress: told an artifact's name when it begins, and :class:`Exported` when it is proven.
        name: of the family; otherwise the name of the diffusion checkpoint.

    Returns:
        What was written as ``packshot.json``.

    Raises:
        InvalidArgument: a checkpoint is not found or does not fit another, or ``repository`` holds
            something that is not a repository.
        ExportError: a checkpoint cannot be served, or a graph does not match the original. Nothing is
            left behind.
    """
    target = Path(repository).resolve()
    _check_target(target)
    parts = open_parts(str(diffusion), [str(one) for one in controlnets], str(sam), precision, name)
    report = progress or (lambda _: None)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        fresh = Path(scratch) / "repository"
        fresh.mkdir()
        for component in components(parts):
            report(component.graph.name)
            report(export_component(component, fresh, parts))
            del component
        manifest = _complete(fresh, parts)
        _swap(fresh, target, Path(scratch) / "replaced")
    return manifest


def export_component(component: Component, directory: Path, parts: Parts) -> Exported:
    """Write one graph where a repository has it, and prove it.

    Raises:
        ExportError: it does not match the original.
    """
    start = time.monotonic()
    name, family = component.graph.name, parts.family
    path = directory / ARTIFACTS[name]
    module = component.module
    if family.precision == "fp16":
        # A copy: the originals stay fp32, for the proof.
        module = copy.deepcopy(module).half()
    write_graph(module, component.example, component.graph, family.dims, family.canvas, path)
    del module
    with torch.no_grad():
        differences = parity.check(name, path, component.cases(), family.precision)
    return Exported(name, time.monotonic() - start, differences)


def _complete(directory: Path, parts: Parts) -> Manifest:
    """Everything of a repository but the graphs."""
    write_tokenizer(parts.tokenizer, directory / TOKENIZER_FILE)
    artifacts = sorted(
        [*directory.rglob("*.onnx"), *directory.rglob("*.onnx.data"), directory / TOKENIZER_FILE]
    )
    manifest = Manifest(
        family=parts.family,
        checkpoints={source.part: source.checkpoint() for source in parts.sources()},
        artifacts={path.relative_to(directory).as_posix(): sha256(path) for path in artifacts},
        exporters={package: importlib.metadata.version(package) for package in _EXPORTERS},
    )
    manifest.write(directory)
    # Imported late: what serves a repository is no part of making its graphs.
    from packshot_serving.repository import write_configs

    write_configs(parts.family, directory, manifest.digest)
    return manifest


def _check_target(target: Path) -> None:
    """Refuse to replace anything that is not a repository."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InvalidArgument(f"repository: {target} is a file, expected a directory")
    foreign = sorted(path.name for path in target.iterdir() if not _belongs(path.name))
    if foreign:
        raise InvalidArgument(
            f"repository: {target} holds {', '.join(foreign[:3])}, which no packshot repository has; "
            "expected a new directory or a repository to replace"
        )


def _belongs(name: str) -> bool:
    return name in MODELS or name == MANIFEST_FILE or name.startswith(".")


def _swap(fresh: Path, target: Path, replaced: Path) -> None:
    """Put a finished directory in place of another, or leave that as it was."""
    existed = target.exists()
    try:
        if existed:
            target.rename(replaced)
        try:
            fresh.rename(target)
        except OSError:
            if existed:
                replaced.rename(target)
            raise
    except OSError as error:
        raise ExportError(f"repository: {target} cannot be put in place: {error.strerror}") from error
    if existed:
        for path in replaced.iterdir():
            if path.name.startswith("."):  # such as .gitignore: not ours to drop
                shutil.move(path, target / path.name)
