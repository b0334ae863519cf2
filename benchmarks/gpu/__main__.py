"""The command; see the package."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.limits import counted, limits
from benchmarks.gpu.models import FULL, TINY, Models
from benchmarks.gpu.parts import parity, parts
from benchmarks.gpu.report import Report, Row
from benchmarks.gpu.steps import compiled, pictures, steps
from benchmarks.gpu.together import overlap, where
from packshot_bench.machine import describe, describe_gpu
from packshot_export.loading import quiet_libraries

#: In this order: what everything else is compared with first, what takes minutes last.
SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "limits": limits,
    "counted": counted,
    "parity": parity,
    "parts": parts,
    "steps": steps,
    "pictures": pictures,
    "overlap": overlap,
    "where": where,
    "compiled": compiled,
}
PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "onnx",
    "onnxscript",
    "onnxruntime-gpu",
    "onnxruntime",
    "numpy",
)


def main(arguments: list[str]) -> int:
    """Measure; the exit status is 0 if every section went through."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models, to try the script")
    parser.add_argument("--only", help=f"sections, with commas between: {', '.join(SECTIONS)}")
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    parser.add_argument("--work", type=Path, help="directory to keep exported graphs in, for the next run")
    parser.add_argument("--budget-s", type=float, default=480, help="no section begins after so many seconds")
    options = parser.parse_args(arguments)
    chosen = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(SECTIONS)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: got cuda, and torch finds no GPU; expected cpu")
    environment: Row = {
        **describe(*PACKAGES), "gpu": describe_gpu(), "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(), "device": options.device, "tiny": options.tiny,
        "command": arguments,
    }  # fmt: skip
    # The reference must be fp32, and not what cuDNN takes for it.
    torch.backends.cudnn.allow_tf32 = False
    dtype = torch.float16 if options.device == "cuda" else torch.float32
    models = Models(TINY if options.tiny else FULL, options.device, dtype)
    try:
        report = Report(options.output, environment, options.budget_s)
    except ValueError as error:
        parser.error(f"--output: {error}")
    clock = Clock(options.device, samples=2 if options.tiny else 5, sample_s=0.01 if options.tiny else 0.1)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(), quiet_libraries():
        warnings.simplefilter("ignore")  # torch's and the exporter's, which are not about what is measured
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(models, clock, report, work)
        for name in chosen:
            report.run(name, lambda name=name: SECTIONS[name](bench))
    environment["gpu_after"] = describe_gpu()
    report.finish()
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
