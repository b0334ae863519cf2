"""What a run is of: commit, machine, versions, artifacts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from packshot.family import Manifest
from packshot_bench.probe import matrix_rate_flops

_PACKAGES = ("numpy", "onnxruntime", "tritonclient", "nvidia-pytriton", "torch", "diffusers", "transformers")


def environment(repository: Path) -> dict[str, Any]:
    """The environment block of a report; measures the machine's matrix rate, which takes a second."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain")
    manifest = Manifest.read(repository)
    return {
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "matrix_rate_gflops_fp32": round(matrix_rate_flops() / 1e9, 1),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "family": manifest.family.name,
        "artifacts": manifest.digest,
    }


def _git(*words: str) -> str | None:
    """git's answer about this source tree; None outside of one."""
    answer = subprocess.run(
        ("git", *words), cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return None if answer.returncode else answer.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
