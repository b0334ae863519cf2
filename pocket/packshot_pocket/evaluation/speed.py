"""How long a shot takes, from request to answer, on a real server."""

from __future__ import annotations

import os
import statistics
from importlib.metadata import entry_points
from pathlib import Path

from packshot import Studio
from packshot_pocket.evaluation.painting import composed
from packshot_pocket.evaluation.report import Measure, Section
from packshot_pocket.renderer import render_studio

_SHOTS = 5


def evaluate_speed(repository: Path, steps: int, guidance_scale: float) -> Section:
    """Serve a repository and shoot 256 × 256 pictures one after the other, each with a prompt of its own.

    Raises:
        packshot.PackshotError: the repository cannot be served.
    """
    (embedded,) = entry_points(group="packshot.embedded_server")
    scenes = [render_studio(seed, split="held_out") for seed in range(_SHOTS + 1)]
    seconds = []
    with embedded.load()(repository) as server, Studio(server.grpc_address) as studio:
        for seed, scene in enumerate(scenes):
            (shot,) = studio.shoot(
                composed(scene),
                (256, 256),
                scene.caption,
                seed=seed,
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
            )
            seconds.append(shot.timings_s["generate"])
    first, *warm = seconds
    name = f"seconds of a 256x256 shot, {steps} guided steps, served, median"
    measures = [
        Measure(name, statistics.median(warm), len(warm), at_most=3.0),
        Measure("seconds of the first shot", first, 1),
    ]
    settings = {"cores": len(os.sched_getaffinity(0)), "guidance_scale": guidance_scale}
    return Section("speed", (0, _SHOTS), measures, settings)
