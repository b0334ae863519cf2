"""What every section is given, and what several of them want to know."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.clock import Clock, Work
from benchmarks.gpu.models import Models
from benchmarks.gpu.report import Report, Row
from packshot.contract import GRAPHS
from packshot_export.axes import TRACED_SIZES, random_inputs
from packshot_export.denoiser_graphs import ControlEmbedding
from packshot_export.onnx_graph import write_graph
from packshot_export.plans import PlanBuilder, PlanSettings
from packshot_export.profiles import exact_profile
from packshot_serving.engine.bound_runner import BoundStepRunner
from packshot_serving.engine.device import CudaDevice, Device, HostDevice
from packshot_serving.engine.onnx_program import OnnxProgram, onnx_programs
from packshot_serving.engine.tensorrt_program import TensorRtProgram, make_log


@dataclass
class Bench:
    """Models, clock and result.

    Attributes:
        work: directory for exported graphs; one that is there already is used as it is.
    """

    models: Models
    clock: Clock
    report: Report
    work: Path

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU to measure."""
        return self.models.device == "cuda"

    @property
    def limit_tflops(self) -> float | None:
        """The card's matrix rate in the precision that is timed, as its own section has measured it."""
        name = f"matmul {self.models.precision}"
        return max(
            (row["tflops"] for row in self.report.rows("limits") if row.get("name") == name), default=None
        )

    @cached_property
    def flop_of_row(self) -> float:
        """Floating-point operations of a row in a fused step, counted."""
        inputs = self.models.inputs("step", 1)
        return self.count(lambda: self.models.fast_step(**inputs)) / 2

    @property
    def onnx_runner(self) -> BoundStepRunner:
        """Ours, on ONNX Runtime; the error of the first try, if that failed: it takes minutes."""
        if isinstance(self._onnx_runner, Exception):
            raise self._onnx_runner
        return self._onnx_runner

    @cached_property
    def _onnx_runner(self) -> BoundStepRunner | Exception:
        try:
            return self._make_onnx_runner()
        except Exception as error:  # noqa: BLE001 - raised to whoever asks
            return error

    def _make_onnx_runner(self) -> BoundStepRunner:
        models, device = self.models, self._device()  # first: without one the export would be for nothing
        with torch.device("cpu"):
            step = models.fast(models.step).to("cpu")
            for name, module in (("step", step), ("control_embedding", ControlEmbedding(step.controlnets))):
                path, graph = self.work / f"{name}.onnx", GRAPHS[name]
                if not path.exists():
                    example = random_inputs(graph, models.family.dims, TRACED_SIZES, 8)
                    write_graph(module, example, graph, models.family.dims, models.family.canvas, path)
        return BoundStepRunner(onnx_programs(self.work, device), models.family, device)

    def tensorrt_runner(self, rows: int) -> BoundStepRunner:
        """Ours, on a plan for steps of exactly so many rows, which takes minutes to build.

        Raises:
            ExportError: TensorRT is not installed, or does not take the graph.
        """
        models, graph = self.models, GRAPHS["step"]
        builder = PlanBuilder(PlanSettings())
        _ = self.onnx_runner  # has written the graph
        path = self.work / f"step.{rows}.{builder.gpus[0]}.{builder.flavour}.plan"
        if not path.exists():
            profile = exact_profile(graph, models.family, models.axes(rows // 2))
            path.write_bytes(builder.build("step", self.work / "step.onnx", [profile], builder.gpus[0]))
        device, trt = self._device(), importlib.import_module(builder.flavour)
        step = TensorRtProgram(path, "step", trt, make_log(trt), device)
        control = OnnxProgram(self.work, "control_embedding", device, repeated=False)
        return BoundStepRunner((step, control), models.family, device)

    def _device(self) -> Device:
        return CudaDevice() if self.cuda else HostDevice()

    @staticmethod
    def count(work: Work) -> float:
        """Floating-point operations of some work in torch."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            work()
        return float(counter.get_total_flops())

    def timed(self, works: Mapping[str, Work], flop: float, **about: object) -> list[Row]:
        """A row for each of some ways to do the same, timed in turn."""
        rows = []
        for name, samples in self.clock.alternate(works).items():
            ms = float(np.median(samples))
            row: Row = {"name": name, **about, "ms": round(ms, 4), **self.rated(flop, ms)}
            rows.append(row | {"samples_ms": [round(sample, 4) for sample in samples]})
        return rows

    def rated(self, flop: float, ms: float) -> Row:
        """The rate of some work, and its share of the limit."""
        tflops, limit = flop / ms / 1e9, self.limit_tflops
        return {"tflops": float(f"{tflops:.4g}"), "of_limit": round(tflops / limit, 4) if limit else None}


def difference(found: torch.Tensor | np.ndarray, wanted: torch.Tensor | np.ndarray) -> Row:
    """How far an answer is from the reference; ``relative`` is ‖found − wanted‖ / ‖wanted‖."""
    one, two = (torch.as_tensor(each).detach().double().cpu() for each in (found, wanted))
    far = (one - two).abs()
    return {
        "finite": bool(torch.isfinite(one).all()),
        "relative": float(f"{float(far.norm() / two.norm()):.3g}"),
        "greatest": float(f"{float(far.max()):.3g}"),
        "greatest_reference": float(f"{float(two.abs().max()):.3g}"),
    }
