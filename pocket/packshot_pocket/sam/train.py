"""Train the pocket SAM: ``python -m packshot_pocket.sam.train --output DIR``."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from packshot_pocket.sam.model import POCKET
from packshot_pocket.sam.trainer import SamTraining, train_sam
from packshot_pocket.training import Budget


@dataclass(frozen=True, slots=True)
class Plan:
    """How much at a time on a kind of device; names as in :class:`SamTraining`."""

    batch_size: int
    workers: int
    views: int
    peak_rate: float
    warmup_steps: int


PLANS: dict[str, Plan] = {
    "cuda": Plan(64, os.cpu_count() or 1, 6, 1e-3, 300),
    "cpu": Plan(16, 0, 4, 8e-4, 60),
}


def _checkpoint(path: str) -> Path:
    """For argparse: a directory that a training wrote."""
    if not (Path(path) / "config.json").is_file():
        raise argparse.ArgumentTypeError(f"got {path}, expected the directory of a checkpoint")
    return Path(path)


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m packshot_pocket.sam.train", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory of the checkpoint")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--device", choices=sorted(PLANS), default="cpu")
    parser.add_argument("--batch-size", type=int, help="pictures of a step")
    parser.add_argument(
        "--processes", type=int, default=1, help="processes that share a step's pictures: as many as cores"
    )
    parser.add_argument("--workers", type=int, help="processes that draw pictures for each of them")
    parser.add_argument("--views", type=int, help="samples of each picture that is drawn")
    parser.add_argument("--peak-rate", type=float, help="highest learning rate")
    parser.add_argument(
        "--image-size",
        type=int,
        default=POCKET.image_size,
        help="128 learns nine times as fast, with coarser masks",
    )
    parser.add_argument(
        "--start",
        type=_checkpoint,
        nargs="+",
        default=[],
        metavar="CHECKPOINT",
        help="start from it, or from the mean of several; also of another image size",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the state in the directory")
    given = parser.parse_args(arguments)
    chosen = {name: getattr(given, name) for name in ("batch_size", "workers", "views", "peak_rate")}
    plan = replace(
        PLANS[given.device], **{name: value for name, value in chosen.items() if value is not None}
    )
    try:
        training = SamTraining(
            output=given.output,
            budget=Budget(given.steps, given.minutes),
            device=given.device,
            seed=given.seed,
            processes=given.processes,
            spec=replace(POCKET, image_size=given.image_size),
            start=tuple(given.start),
            **asdict(plan),
        )
    except ValueError as error:
        parser.error(str(error))
    train_sam(training, given.resume)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
