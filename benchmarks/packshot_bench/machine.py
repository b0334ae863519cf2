"""What a benchmark ran on: the same few lines in every result."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

#: Of ``nvidia-smi``: what decides over a card's speed, and its state when it was asked.
_GPU = (
    "name",
    "driver_version",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "power.limit",
    "temperature.gpu",
)


def describe(*packages: str) -> dict[str, object]:
    """Commit, Python, processor, load, and the versions of some packages; None of what is not installed."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def cpu() -> dict[str, object]:
    """The processor's name, and its clock in MHz at the moment, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = told.get("model name") or platform.processor() or platform.machine()
    return {"cpu": name, "clock_mhz": float(told["cpu MHz"]) if "cpu MHz" in told else None}


def peak_memory_bytes(pid: int | None = None) -> int:
    """The most that a process and those it has started have had in memory, one added to the other.

    Pages that they share count in each; what has ended by now does not count. Linux only.

    Args:
        pid: of the process; None is this one.
    """
    pids, total = [pid or os.getpid()], 0
    for pid in pids:
        process = Path("/proc", str(pid))
        for told in process.glob("task/*/children"):
            pids += [int(child) for child in _read(told).split()]
        status = dict(line.split(":", 1) for line in _read(process / "status").splitlines())
        total += int(status.get("VmHWM", "0").split()[0]) << 10  # a process that has just ended has none
    return total


def release_memory() -> None:
    """Give back what this process no longer needs: cycles of objects, and what glibc keeps of freed memory.

    Of full-size models that is gigabytes, which whatever is measured next would be short of.
    """
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _read(path: Path) -> str:
    """A file of ``/proc``; empty if its thread or process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def describe_gpu() -> dict[str, str] | None:
    """Name, driver, clocks and power limit of the first GPU; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={','.join(_GPU)}", "--format=csv,noheader", "--id=0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        return None
    return dict(zip(_GPU, answer.stdout.strip().split(", "), strict=False))


def commit() -> str | None:
    """Of the source tree, with "+" if there are changes; None outside of git."""
    if shutil.which("git") is None:
        return None
    root = Path(__file__).parent
    said = [
        subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    ]
    return None if said[0].returncode else said[0].stdout.strip() + "+" * bool(said[1].stdout.strip())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
