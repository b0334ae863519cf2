"""The command line of the trainings."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from packshot_pocket.train.models import TRAININGS, render
from packshot_pocket.train.plan import PLANS
from packshot_pocket.train.request import Request
from packshot_pocket.training import Budget, seed_everything


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m packshot_pocket.train",
        description="Train the pocket family: the VAE first, then diffusion, then the ControlNet.",
    )
    models = parser.add_subparsers(dest="model", required=True)
    for name in (*TRAININGS, "render"):
        model = models.add_parser(name, help=_HELP[name])
        model.add_argument("--output", type=Path, required=True, help="directory of the family")
        model.add_argument("--scenes", type=Path, help="directory of the rendered pictures (OUTPUT/scenes)")
        model.add_argument("--device", choices=sorted(PLANS), default="cpu")
        model.add_argument("--count", type=int, help="scenes, a multiple of 128 (as many as the plan says)")
        model.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that render")
        if name == "render":
            model.add_argument("--for", dest="purpose", choices=sorted(TRAININGS), default="diffusion")
        else:
            length = model.add_mutually_exclusive_group(required=True)
            length.add_argument("--minutes", type=float)
            length.add_argument("--steps", type=int)
            model.add_argument("--seed", type=int, default=0)
            model.add_argument("--start", type=Path, help="family whose weights to start from (from nothing)")
            model.add_argument("--compile", action="store_true", help="compile the networks first")
            model.add_argument("--resume", action="store_true", help="go on from the last state")
    models.choices["vae"].add_argument(
        "--decoder-only",
        action="store_true",
        help="leave the encoder of --start as it is, and so the latents that its UNet has learned",
    )
    given = parser.parse_args(arguments)
    decoder_only = given.model == "vae" and given.decoder_only
    if decoder_only and not given.start:
        parser.error("--decoder-only: got no --start, expected the family whose latents are to stay")
    training = given.model in TRAININGS
    request = Request(
        model=given.model if training else given.purpose,
        output=given.output,
        scenes=given.scenes or given.output / "scenes",
        budget=Budget(given.steps, given.minutes) if training else Budget(steps=1),
        device=given.device,
        count=given.count,
        workers=given.workers,
        seed=given.seed if training else 0,
        resume=training and given.resume,
        compile=training and given.compile,
        start=given.start if training else None,
        decoder_only=decoder_only,
    )
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    if request.device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    seed_everything(request.seed)
    (TRAININGS[given.model] if training else render)(request)
    return 0


_HELP = {
    "vae": "train the VAE",
    "diffusion": "train the text encoder and the UNet; needs the VAE",
    "controlnet": "train the ControlNet, and the UNet and text encoder on with it",
    "render": "only draw the pictures that the trainings need",
}
