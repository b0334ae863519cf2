"""One picture from nothing: what the cold start's scenario runs in a process of its own.

``python -m packshot_bench.first_picture SUBJECT REPOSITORY CHECKPOINTS SIDE STEPS BEGAN`` prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from packshot import Parameters
from packshot_bench.context import Context, subjects
from packshot_bench.job import make_job
from packshot_bench.machine import peak_memory_bytes
from packshot_bench.probe import Probe


def main(subject: str, repository: str, checkpoints: str, side: str, steps: str, began: str) -> None:
    """Start the subject, paint, tell. ``began`` is when the process was asked for, of the same clock."""
    context = Context(Path(repository), Path(checkpoints), 1, lambda line: None, Probe())
    job = make_job(context.family, int(side), Parameters(int(steps), guidance_scale=2.0), seed=0)
    imported = time.time()
    with subjects()[subject](context) as ready:
        started = time.time()
        ready.paint(job)
        painted = time.time()
        stages_s = {
            "import": imported - float(began),
            "start": started - imported,
            "picture": painted - started,
        }
        told = {"stages_s": stages_s, "peak_memory_bytes": peak_memory_bytes()}
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
