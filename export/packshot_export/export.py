"""Checkpoints → a repository that is proven, complete and in place, or an error and nothing at all."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from packshot.contract import ARTIFACTS, GRAPHS, MODELS, TOKENIZER_FILE, plan_file
from packshot.errors import ExportError, InvalidArgument
from packshot.family import MANIFEST_FILE, Family, Manifest, Precision, sha256
from packshot_export import headroom, parity
from packshot_export.components import Component, components
from packshot_export.half import half
from packshot_export.onnx_graph import write_graph
from packshot_export.parts import Parts, open_parts
from packshot_export.plans import PlanBuilder, PlanSettings
from packshot_export.profiles import profiles
from packshot_export.tokenizer_file import write_tokenizer

_EXPORTERS = ("packshot", "torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")


Progress = Callable[["str | Exported | Planned"], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph that is written and proven.

    Attributes:
        headroom: of an fp16 graph, its greatest number.
    """

    name: str
    seconds: float
    differences: tuple[parity.Difference, ...]
    headroom: headroom.Headroom | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A TensorRT plan that is written. Whether it computes the right thing, only its GPU can tell."""

    file: str
    seconds: float
    size_bytes: int


def export_repository(
    diffusion: str | Path,
    controlnets: Sequence[str | Path],
    sam: str | Path,
    repository: str | Path,
    precision: Precision = "fp32",
    progress: Progress | None = None,
    name: str | None = None,
    tensorrt: PlanSettings | None = None,
) -> Manifest:
    """Export checkpoints into a complete model repository.

    Args:
        diffusion: directory or hub id (``OWNER/NAME`` or ``OWNER/NAME@REVISION``) of a Stable Diffusion
            inpainting pipeline.
        controlnets: the same of its ControlNets, at least one.
        sam: the same of a SAM.
        repository: directory to make; a repository that is already there is replaced.
        precision: of the weights and of the arithmetic inside the graphs.
        progress: told an artifact's name when it begins, and :class:`Exported` or :class:`Planned` when it
            is there.
        name: of the family; otherwise the name of the diffusion checkpoint.
        tensorrt: how to build TensorRT plans of the graphs, too; None: not at all.

    Returns:
        What was written as ``packshot.json``.

    Raises:
        InvalidArgument: a checkpoint is not found or does not fit another, or ``repository`` holds
            something that is not a repository.
        ExportError: a checkpoint cannot be served, a graph does not match the original, TensorRT is
            missing or does not take a graph, or the disk is full. Nothing is left behind.
    """
    builder = PlanBuilder(tensorrt) if tensorrt else None
    target = Path(repository).resolve()
    _check_target(target)
    parts = open_parts(str(diffusion), [str(one) for one in controlnets], str(sam), precision, name)
    report = progress or (lambda _: None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            fresh = Path(scratch) / "repository"
            fresh.mkdir()
            for component in components(parts):
                report(component.graph.name)
                report(export_component(component, fresh, parts))
                del component
            if builder:
                build_plans(builder, fresh, parts.family, report)
            manifest = _complete(fresh, parts, builder)
            _swap(fresh, target, Path(scratch) / "replaced")
    except OSError as error:
        raise ExportError(f"repository: {target} cannot be written: {error}") from error
    return manifest


def export_component(component: Component, directory: Path, parts: Parts) -> Exported:
    """Write one graph where a repository has it, and prove it.

    Raises:
        ExportError: it does not match the original, or comes too near the end of fp16.
    """
    start = time.monotonic()
    name, family = component.graph.name, parts.family
    path = directory / ARTIFACTS[name]
    module = half(component.module) if family.precision == "fp16" else component.module
    write_graph(module, component.example, component.graph, family.dims, family.canvas, path)
    del module
    with torch.no_grad():
        cases = tuple(component.cases())
        differences = parity.check(name, path, cases, family.precision)
        room = headroom.check(name, path, cases) if family.precision == "fp16" else None
    return Exported(name, time.monotonic() - start, differences, room)


def build_plans(builder: PlanBuilder, directory: Path, family: Family, report: Progress) -> None:
    """Write the plans of every graph where a repository has them.

    Raises:
        ExportError: TensorRT does not take a graph.
    """
    for gpu in builder.gpus:
        for name, graph in GRAPHS.items():
            file = plan_file(name, gpu, builder.flavour)
            report(file)
            start = time.monotonic()
            plan = builder.build(name, directory / ARTIFACTS[name], profiles(graph, family), gpu)
            (directory / file).write_bytes(plan)
            report(Planned(file, time.monotonic() - start, len(plan)))


def _complete(directory: Path, parts: Parts, builder: PlanBuilder | None) -> Manifest:
    """Everything of a repository but graphs and plans."""
    write_tokenizer(parts.tokenizer, directory / TOKENIZER_FILE)
    artifacts = sorted(
        path
        for path in directory.rglob("*")
        if path.name.endswith((".onnx", ".onnx.data", ".plan")) or path == directory / TOKENIZER_FILE
    )
    exporters = {package: importlib.metadata.version(package) for package in _EXPORTERS}
    if builder:
        exporters[builder.flavour] = builder.version
    manifest = Manifest(
        family=parts.family,
        checkpoints={source.part: source.checkpoint() for source in parts.sources()},
        artifacts={path.relative_to(directory).as_posix(): sha256(path) for path in artifacts},
        exporters=exporters,
    )
    manifest.write(directory)
    # Imported late: what serves a repository is no part of making its graphs.
    from packshot_serving.repository import Deployment, Plans, write_configs

    plans = None
    if builder:
        num_profiles = {name: len(profiles(graph, parts.family)) for name, graph in GRAPHS.items()}
        plans = Plans(builder.flavour, builder.gpus, num_profiles)
    write_configs(parts.family, directory, Deployment(manifest.digest, plans=plans))
    return manifest


def _check_target(target: Path) -> None:
    """Refuse to replace anything that is not a repository."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InvalidArgument(f"repository: {target} is a file, expected a directory")
    if target.is_mount():  # what is replaced is renamed, which a mount point cannot be
        raise InvalidArgument(f"repository: {target} is a mount point, expected a directory in it")
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
