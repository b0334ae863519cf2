"""Whether ``packshot bench compare`` sees what it is for: a tenth slower, and nothing where nothing is.

``python -m benchmarks.slowdown [REPOSITORY] [--repeats N] [--output FILE]``. The same scenario is run three
times, one after the other as anybody would: as it is, once more, and with a step runner that spends a tenth
longer on every step. The second and the third run are held against the first.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from packshot_bench import machine
from packshot_bench.compare import compared
from packshot_bench.context import Context
from packshot_bench.probe import Probe
from packshot_bench.results import Report
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.subjects import onnx_loop
from packshot_serving.engine import OnnxStepRunner, StepBatch

SUBJECT = "onnxruntime loop"
SLOWDOWN = 0.1


class SlowRunner(OnnxStepRunner):
    """The step runner with a deliberate fault."""

    def run(self, batch: StepBatch):  # noqa: ANN201 (the parent's)
        """A step that takes a tenth longer."""
        began = time.perf_counter()
        answer = super().run(batch)
        until = time.perf_counter() + SLOWDOWN * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return answer
