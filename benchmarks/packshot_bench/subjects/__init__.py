"""What is measured: packshot, and what one would use instead.

Each is a context manager; inside, :meth:`Subject.paint` does one job after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import numpy as np

from packshot_bench.job import Job


@dataclass(frozen=True, slots=True)
class Painted:
    """A subject's answer.

    Attributes:
        image: uint8 [H, W, 3], nothing pasted back.
        took_s: seconds from the job to the picture; what measuring the stages takes is left out.
        stages_s: seconds by stage, where the subject can tell.
    """

    image: np.ndarray
    took_s: float
    stages_s: Mapping[str, float] = field(default_factory=dict)


class Subject(Protocol):
    """One way to paint."""

    def __enter__(self) -> Subject: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def paint(self, job: Job) -> Painted:
        """Do a job."""
        ...
