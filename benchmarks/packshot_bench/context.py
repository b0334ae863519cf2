"""What scenarios are given: where the family is, and what to measure beside packshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from packshot.family import Family, Manifest
from packshot_bench.probe import Probe
from packshot_bench.subjects import Subject

_T = TypeVar("_T")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Context:
    """Of one round of a run.

    Attributes:
        repository: that is served.
        checkpoints: that it was exported from.
        repeats: shots of each subject in a round.
        tell: called with a line of progress.
        probe: the machine's speed at the moment.
        round: its number, from 0.
    """

    repository: Path
    checkpoints: Path
    repeats: int
    tell: Tell
    probe: Probe
    round: int = 0

    def in_turn(self, subjects: Sequence[_T], number: int = 0) -> Sequence[_T]:
        """Who comes first in a round comes last in the next one; likewise of what is numbered in it."""
        return subjects[:: -1 if (self.round + number) % 2 else 1]

    @property
    def family(self) -> Family:
        """Of the repository."""
        return Manifest.read(self.repository).family


#: Makes a subject of a run.
MakeSubject = Callable[[Context], Subject]


def subjects() -> Mapping[str, MakeSubject]:
    """All of them by name; torch and diffusers are imported only when one of theirs is made."""

    def pipeline(precision: str, compiled: bool = False) -> MakeSubject:
        def make(context: Context) -> Subject:
            from packshot_bench.subjects.pipeline import Pipeline

            return Pipeline(context.checkpoints, precision, compiled)  # type: ignore[arg-type]

        return make

    from packshot_bench.subjects.onnx_loop import OnnxLoop
    from packshot_bench.subjects.served import Served

    return {
        "packshot": lambda context: Served(context.repository),
        "packshot bf16": lambda context: Served(context.repository, bf16=True),
        "onnxruntime loop": lambda context: OnnxLoop(context.repository),
        "diffusers eager fp32": pipeline("fp32"),
        "diffusers eager bf16": pipeline("bf16"),
        "diffusers compiled fp32": pipeline("fp32", compiled=True),
    }
