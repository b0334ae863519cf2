"""What a run is of: commit, machine, versions, artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packshot.family import Manifest
from packshot_bench import machine
from packshot_bench.matrix_rate import matrix_rate_flops, matrix_rates_flops

_PACKAGES = ("numpy", "onnxruntime", "tritonclient", "nvidia-pytriton", "torch", "diffusers", "transformers")


def environment(repository: Path) -> dict[str, Any]:
    """The environment block of a report."""
    found = machine.describe(*_PACKAGES)
    commit: Any = found.pop("commit")
    versions = {name: found.pop(name) for name in _PACKAGES}
    manifest = Manifest.read(repository)
    return {
        "commit": commit and commit.rstrip("+"),
        "dirty": commit and commit.endswith("+"),
        **machine.cpu(),
        "gpu": machine.describe_gpu(),
        **found,
        "matrix_rate_gflops_fp32": round(matrix_rate_flops() / 1e9, 1),
        "matrix_rates_gflops_fp32": {
            name: round(rate / 1e9, 1) for name, rate in matrix_rates_flops().items()
        },
        "versions": {name: version for name, version in versions.items() if version},
        "family": manifest.family.name,
        "artifacts": manifest.digest,
    }
