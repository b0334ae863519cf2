"""From nothing to a picture: what a restart, a new replica or a script's first call takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from packshot_bench.context import Context
from packshot_bench.results import Row


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Each subject in a fresh process, in turns: interpreter, imports, weights, one picture.

    Files are in the system's cache already; a first start after a reboot takes longer. Peak memory is
    that of all processes together, the asking one included.

    Attributes:
        side: of the canvas in pixels.
        steps: of the picture.
        names: of the subjects.
    """

    name = "cold_start"
    once = False
    side: int = 256
    steps: int = 20
    names: tuple[str, ...] = ("packshot", "diffusers eager fp32")

    def run(self, context: Context) -> Iterator[Row]:
        """A row for each subject, of one start; one that fails is a row with its error."""
        case = {"side": self.side, "num_inference_steps": self.steps}
        for name in context.in_turn(self.names):
            context.tell(f"{self.name}: {name}")
            probed_s = context.probe()
            answer = self._start(name, context)
            if answer.returncode:
                last = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
                error = f"status {answer.returncode}: {last}"
                yield Row(self.name, name, case, error=error)
                continue
            probed_s = (probed_s + context.probe()) / 2
            told = json.loads(answer.stdout)
            stages = {stage: (seconds,) for stage, seconds in told["stages_s"].items()}
            samples = (sum(told["stages_s"].values()),)
            measures = {"peak_memory_bytes": told["peak_memory_bytes"]}
            yield Row(self.name, name, case, samples, (probed_s,), stages, measures)

    def _start(self, name: str, context: Context) -> subprocess.CompletedProcess[str]:
        paths = (str(context.repository), str(context.checkpoints))
        words = (name, *paths, str(self.side), str(self.steps), str(time.time()))
        command = (sys.executable, "-m", "packshot_bench.first_picture", *words)
        return subprocess.run(command, capture_output=True, text=True, check=False)
