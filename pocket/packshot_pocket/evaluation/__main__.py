"""The evaluation: ``python -m packshot_pocket.evaluation --checkpoints DIR --output DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from packshot.parameters import Parameters
from packshot_pocket.evaluation.control import evaluate_control
from packshot_pocket.evaluation.materials import load_materials
from packshot_pocket.evaluation.painting import Painter
from packshot_pocket.evaluation.report import ReportFile, Section, table
from packshot_pocket.evaluation.scenes import evaluate_scenes
from packshot_pocket.evaluation.segmentation import evaluate_sam
from packshot_pocket.evaluation.speed import evaluate_speed
from packshot_pocket.evaluation.vae import evaluate_vae

SECTIONS = ("vae", "scenes", "controlnet", "sam", "speed")


def main(arguments: list[str]) -> int:
    """The command; returns 0 if every target is met, 1 if one is not."""
    parser = argparse.ArgumentParser(prog="python -m packshot_pocket.evaluation", description=__doc__)
    parser.add_argument(
        "--checkpoints", type=Path, required=True, help="directory with diffusion, controlnet and sam"
    )
    parser.add_argument("--output", type=Path, required=True, help="directory of evaluation.json and sheets")
    parser.add_argument("--repository", type=Path, help="the family as exported; without it no speed")
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="measure this section anew; may be repeated"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scenes", type=int, default=96, help="scenes to paint, and to encode")
    parser.add_argument("--control-scenes", type=int, default=32, help="scenes painted at each scale")
    parser.add_argument("--photos", type=int, default=150, help="snapshots that SAM is asked about")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=1, help="processes that render for the classifier")
    given = parser.parse_args(arguments)
    if "speed" in (given.only or ()) and not given.repository:
        parser.error("--only speed: got no --repository, expected the family as exported")
    given.output.mkdir(parents=True, exist_ok=True)
    report = ReportFile(given.output / "evaluation.json", given.checkpoints, keep=bool(given.only))
    sections = []
    for section in _evaluated(given):
        sections.append(section)
        sys.stdout.write(table(section) + "\n")
        sys.stdout.flush()
        # After each: an interrupted evaluation has what it got to.
        report.add(section)
    return int(any(measure.passed is False for section in sections for measure in section.measures))


def _evaluated(given: argparse.Namespace) -> Iterator[Section]:
    wanted = given.only or SECTIONS
    parameters = Parameters(
        num_inference_steps=given.steps,
        guidance_scale=given.guidance_scale,
        controlnet_conditioning_scale=1.0,
    )

    @cache
    def painter() -> Painter:
        return Painter(given.checkpoints, given.device, 32 if given.device == "cuda" else 8)

    if "vae" in wanted:
        yield evaluate_vae(given.checkpoints / "diffusion" / "vae", given.output, given.scenes, given.device)
    if "scenes" in wanted:
        materials = load_materials(given.output / "materials.pt", given.workers, given.device)
        yield evaluate_scenes(painter(), materials, given.output, given.scenes, parameters)
    if "controlnet" in wanted:
        yield evaluate_control(painter(), given.output, given.control_scenes, parameters)
    if "sam" in wanted:
        yield evaluate_sam(given.checkpoints / "sam", given.output, given.photos)
    if "speed" in wanted and given.repository:
        yield evaluate_speed(given.repository, given.steps, given.guidance_scale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
