"""ONNX graphs → TensorRT plans, with ``tensorrt`` or with ``tensorrt_rtx``, which have one API.

``tensorrt`` builds on and for the GPU of this machine; its plans are what Triton's ``tensorrt`` backend
loads. ``tensorrt_rtx`` builds for RTX GPUs, also without one; its plans are for its own runtime.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.contract import PLAN_ENDINGS
from packshot.errors import ExportError, InvalidArgument, expected
from packshot_export.profiles import Profile
from packshot_serving.engine.tensorrt_program import make_log


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How to build plans.

    Attributes:
        gpus: compute capabilities to build for, such as ``sm_89``; none: this machine's GPU.
        version_compatible: plans also load in later minor versions of TensorRT.
        timing_cache: file of kernel timings to begin with and to add to; makes a second build quick.
    """

    gpus: tuple[str, ...] = ()
    version_compatible: bool = False
    timing_cache: Path | None = None


class PlanBuilder:
    """Builds plans with one of the two modules.

    Args:
        settings: how to build.
        flavour: of ``contract.PLAN_ENDINGS``; None: the first that is installed.

    Attributes:
        flavour: the module's name.
        version: the module's version.
        gpus: what it builds for.

    Raises:
        ExportError: neither module is installed, or there is no GPU where one is needed.
        InvalidArgument: a GPU or a setting that the module cannot build for.
    """

    def __init__(self, settings: PlanSettings, flavour: str | None = None) -> None:
        self.flavour, self._trt = _load(flavour)
        self.version: str = self._trt.__version__
        self._settings = settings
        self.gpus = tuple(settings.gpus or [_own_gpu()])
        self._check()
        self._log = make_log(self._trt)

    def build(self, name: str, graph: Path, profiles: Sequence[Profile], gpu: str) -> bytes:
        """Compile a graph.

        Args:
            name: for messages.
            graph: ONNX file; its precisions are the plan's.
            profiles: the shapes to take, in order.
            gpu: one of :attr:`gpus`.

        Raises:
            ExportError: TensorRT does not take the graph.
        """
        trt = self._trt
        self._log.forget()
        builder = trt.Builder(self._log)
        typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        parser = trt.OnnxParser(network, self._log)
        # Not by its bytes: weights in a second file are found beside it.
        if not parser.parse_from_file(str(graph)):
            raise ExportError(f"{name}: {self.flavour} does not take {graph}: {self._log.reason()}")
        config = builder.create_builder_config()
        if self.flavour == "tensorrt_rtx":
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, gpu.replace("sm_", "SM")), 0)
        config.clear_flag(trt.BuilderFlag.TF32)  # what a graph has in fp32 is meant so
        if self._settings.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        for profile in profiles:
            config.add_optimization_profile(_trt_profile(builder, profile))
        cache = self._open_timing_cache(config)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ExportError(f"{name}: {self.flavour} cannot compile the graph: {self._log.reason()}")
        if cache is not None and self._settings.timing_cache:
            self._settings.timing_cache.write_bytes(cache.serialize())
        return bytes(plan)

    def _check(self) -> None:
        if self.flavour == "tensorrt":
            own = _own_gpu()
            if self.gpus != (own,):
                raise expected("gpu", ", ".join(self.gpus), f"{own}: tensorrt builds for its own GPU only")
            return
        known = [
            name.replace("SM", "sm_") for name in dir(self._trt.ComputeCapability) if name.startswith("SM")
        ]
        for gpu in self.gpus:
            if gpu not in known:
                raise expected("gpu", gpu, f"one of {', '.join(known)}: tensorrt_rtx builds for these")
        for what, value in (
            ("version_compatible", self._settings.version_compatible),
            ("timing_cache", self._settings.timing_cache),
        ):
            if value:
                raise InvalidArgument(f"{what}: got {value}, expected none: tensorrt_rtx has no such thing")

    def _open_timing_cache(self, config: Any) -> Any:
        path = self._settings.timing_cache
        if path is None:
            return None
        cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
        if not config.set_timing_cache(cache, ignore_mismatch=False):  # of another GPU or version
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, ignore_mismatch=False)
        return cache


def _load(flavour: str | None) -> tuple[str, Any]:
    for name in [flavour] if flavour else PLAN_ENDINGS:
        try:
            return name, importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ExportError(
        "got neither tensorrt nor tensorrt_rtx, expected one of them to build plans: on a data-centre GPU "
        "work in NVIDIA's tensorrt image; for RTX GPUs pip install 'packshot[tensorrt]'"
    )


def _own_gpu() -> str:
    """The compute capability of this machine's GPU, such as ``sm_90``."""
    tool = shutil.which("nvidia-smi")
    query = [tool or "", "--query-gpu=compute_cap", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout if tool else ""
    found = sorted({f"sm_{line.replace('.', '')}" for line in answer.split() if line[:1].isdecimal()})
    if not found:
        raise ExportError("gpu: found none on this machine, expected one, or --gpu with tensorrt_rtx")
    if len(found) > 1:  # whose order is another for CUDA than for nvidia-smi
        raise ExportError(f"gpu: found {', '.join(found)} on this machine, expected one kind; show only one")
    return found[0]


def _trt_profile(builder: Any, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for tensor, (least, best, most) in profile.shapes.items():
        made.set_shape(tensor, least, best, most)
    return made
