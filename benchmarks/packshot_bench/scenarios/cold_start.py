"""From nothing to a picture: what a restart, a new replica or a script's first call takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
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
        repeats: starts of each subject.
        names: of the subjects.
    """

    name = "cold_start"
    side: int = 256
    steps: int = 20
    repeats: int = 3
    names: tuple[str, ...] = ("packshot", "diffusers eager fp32")

    def run(self, context: Context) -> Iterator[Row]:
        """A row for each subject; one that fails is a row with its error."""
        case = {"side": self.side, "num_inference_steps": self.steps}
        samples_s: dict[str, list[float]] = defaultdict(list)
        stages_s: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        peak: dict[str, float] = defaultdict(float)
        errors: dict[str, str] = {}
        for number in range(self.repeats):
            context.tell(f"{self.name}: {number + 1}/{self.repeats}")
            for name in self.names:
                answer = self._start(name, context)
                if answer.returncode:
                    errors[name] = (answer.stderr.strip().splitlines() or ["no word"])[-1]
                    continue
                told = json.loads(answer.stdout)
                samples_s[name].append(sum(told["stages_s"].values()))
                for stage, seconds in told["stages_s"].items():
                    stages_s[name][stage].append(seconds)
                peak[name] = max(peak[name], told["peak_memory_bytes"])
        for name in self.names:
            if name in errors:
                yield Row(self.name, name, case, error=errors[name])
                continue
            stages = {stage: tuple(samples) for stage, samples in stages_s[name].items()}
            measures = {"peak_memory_bytes": peak[name]}
            yield Row(self.name, name, case, tuple(samples_s[name]), (), stages, measures)

    def _start(self, name: str, context: Context) -> subprocess.CompletedProcess[str]:
        paths = (str(context.repository), str(context.checkpoints))
        words = (name, *paths, str(self.side), str(self.steps), str(time.time()))
        command = (sys.executable, "-m", "packshot_bench.first_picture", *words)
        return subprocess.run(command, capture_output=True, text=True, check=False)
