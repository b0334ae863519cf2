"""Numbers next to their targets, as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Measure:
    """One number.

    Attributes:
        name: what it is, with its unit.
        value: of the models.
        n: pictures, prompts or pairs that it is made of.
        at_least: target, if it should not be less.
        at_most: target, if it should not be more.
        truth: the same number of the rendered pictures themselves, where they have one.
    """

    name: str
    value: float
    n: int
    at_least: float | None = None
    at_most: float | None = None
    truth: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether it meets its target; None if it has none. NaN meets nothing."""
        if self.at_least is None and self.at_most is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; floats rounded to what means something."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: _plain(value) for name, value in given.items()} | {"passed": self.passed}


@dataclass(frozen=True, slots=True)
class Section:
    """What was measured of one model.

    Attributes:
        name: ``vae``, ``scenes``, ``controlnet`` or ``sam``.
        seeds: first and last seed of the renderer, all of the held-out split.
        measures: the numbers.
        settings: what else it depends on.
        details: a row for each picture, to find what a mean hides.
    """

    name: str
    seeds: tuple[int, int]
    measures: Sequence[Measure]
    settings: Mapping[str, Any] = field(default_factory=dict)
    details: Sequence[Mapping[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "split": "held_out",
            "seeds": list(self.seeds),
            "settings": dict(self.settings),
            "measures": [measure.as_dict() for measure in self.measures],
            "details": [dict(row) for row in self.details],
        }


class ReportFile:
    """``evaluation.json``: each section with where and with what it was measured.

    Args:
        path: of the file.
        checkpoints: directory of what is measured.
        keep: the sections that the file has, until they are measured again.
    """

    def __init__(self, path: Path, checkpoints: Path, keep: bool = False) -> None:
        self.path, self.checkpoints = path, checkpoints.name
        self._sections: dict[str, Any] = {}
        if keep and path.is_file():
            self._sections = json.loads(path.read_text())["sections"]

    def add(self, section: Section) -> None:
        """Write the file anew, with this section; a stop at any moment leaves the old file or the new one."""
        measured = {"commit": _commit(), "machine": machine(), **section.as_dict()}
        self._sections = {**self._sections, section.name: measured}
        report = {"checkpoints": self.checkpoints, "sections": self._sections}
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        scratch.write_text(json.dumps(report, indent=1) + "\n")
        os.replace(scratch, self.path)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def table(section: Section) -> str:
    """The numbers for a terminal."""
    lines = []
    for measure in section.measures:
        bound = f"≥ {measure.at_least:g}" if measure.at_least is not None else ""
        bound += f"≤ {measure.at_most:g}" if measure.at_most is not None else ""
        truth = f"truth {measure.truth:.4g}" if measure.truth is not None else ""
        verdict = {True: "pass", False: "FAIL", None: ""}[measure.passed]
        name = f"{section.name}: {measure.name}"
        lines.append(f"{name:<68} {measure.value:>9.4g}  {bound:<9} {verdict:<5} n {measure.n:<5} {truth}")
    return "\n".join(line.rstrip() for line in lines)


def _plain(value: object) -> object:
    """Floats rounded; None for NaN, which JSON does not know."""
    if not isinstance(value, float):
        return value
    return round(value, 4) if math.isfinite(value) else None


def _commit() -> str | None:
    """The commit of this tree, ``-dirty`` if it has changes; None outside of git."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
