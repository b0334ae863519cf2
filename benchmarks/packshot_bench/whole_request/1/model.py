"""Whole-request batching: what Triton has gathered is painted from beginning to end, then all are answered.

One call of a pipeline has one step count, one guidance scale and so on; so a batch is painted in groups
of equal parameters, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from packshot.family import Manifest
from packshot.parameters import Parameters
from packshot_bench.subjects.onnx_loop import OnnxLoop
from packshot_serving.requests import read_parameters

_COUNTERS = {"steps_total": "Denoising steps taken", "rows_total": "UNet rows computed"}


class TritonPythonModel:
    """The plain loop over packshot's graphs, so that nothing but the scheduling differs from packshot."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the graphs of the repository that this model lies in."""
        repository = Path(args["model_repository"]).parent
        self.family = Manifest.read(repository).family
        self.loop = OnnxLoop(repository).__enter__()
        counter = pb_utils.MetricFamily.COUNTER
        self.families = {  # Triton drops a family that nobody holds
            name: pb_utils.MetricFamily(name=f"whole_request_{name}", description=text, kind=counter)
            for name, text in _COUNTERS.items()
        }
        self.counters = {name: family.Metric(labels={}) for name, family in self.families.items()}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that Triton has gathered, all of one canvas."""
        given = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        groups: dict[Parameters, list[int]] = {}
        for index, arrays in enumerate(given):
            parameters = read_parameters({name: array[0] for name, array in arrays.items()}, self.family)
            groups.setdefault(parameters, []).append(index)
        images: dict[int, np.ndarray] = {}
        for parameters, members in groups.items():
            images |= zip(members, self._paint([given[index] for index in members], parameters), strict=True)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("generated_image", images[index][None])])
            for index in range(len(requests))
        ]

    def _paint(self, given: list[dict[str, np.ndarray]], parameters: Parameters) -> np.ndarray:
        """uint8 [B, H, W, 3]."""
        stacked = {name: np.concatenate([arrays[name] for arrays in given]) for name in given[0]}
        painted = self.loop.paint_together(stacked, parameters)
        self.counters["steps_total"].increment(painted.steps)
        self.counters["rows_total"].increment(painted.rows)
        return painted.images
