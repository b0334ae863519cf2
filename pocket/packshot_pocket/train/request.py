"""What a training is asked for, and what it finds on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from packshot_pocket.diffusion.latents import LatentSet, encode_pool
from packshot_pocket.scenes.pool import Pool
from packshot_pocket.train.loop import STATE, Run
from packshot_pocket.train.plan import PLANS, Device, Plan, Stage
from packshot_pocket.training import Budget, load_state

#: What each model's training stands on.
_ORDER: dict[str, tuple[str, ...]] = {"vae": (), "diffusion": ("vae",), "controlnet": ("vae", "diffusion")}


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    Attributes:
        model: ``vae``, ``diffusion`` or ``controlnet``.
        output: directory of the family: ``diffusion/``, ``controlnet/``, and ``training/`` with
            states and sheets.
        scenes: directory of the rendered pictures; those that are missing are drawn.
        budget: how long to train.
        device: to train on.
        count: scenes to train on; None for as many as the plan says.
        workers: processes that render.
        seed: of weights and batches.
        resume: go on with an earlier training.
        compile: compile the networks first: a minute or two for faster steps.
        start: directory of a family whose weights to start from; None to start from nothing.
        decoder_only: of a VAE train the decoder alone.
    """

    model: str
    output: Path
    scenes: Path
    budget: Budget
    device: Device
    count: int | None
    workers: int
    seed: int
    resume: bool
    compile: bool
    start: Path | None = None
    decoder_only: bool = False

    @property
    def plan(self) -> Plan:
        """Of the device."""
        return PLANS[self.device]

    def pool(self, stage: Stage, shrink: int = 2) -> Pool:
        """The scenes that a stage is trained on, drawn.

        Args:
            shrink: how many times smaller than they were drawn they will be seen.
        """
        planned = stage.fine_scenes if shrink == 1 and stage.fine_scenes else stage.scenes
        pool = Pool(self.scenes, "studio", self.count or planned, self.plan.size)
        pool.fill(self.workers)
        return pool

    def snapshots(self) -> Pool:
        """The amateur photos, drawn."""
        pool = Pool(
            self.scenes,
            "snapshot",
            min(self.plan.snapshots, self.count or self.plan.snapshots),
            self.plan.size,
        )
        pool.fill(self.workers)
        return pool

    def trained_vae(self) -> AutoencoderKL:
        """The VAE that was trained before, on the device, not to be trained on."""
        return self.read(AutoencoderKL, self.output / "diffusion" / "vae").eval().requires_grad_(False)

    def begun(self, kind: Any, part: str) -> Any | None:
        """A part of the family to start from, to be trained on; None to start from nothing.

        Args:
            kind: its class.
            part: its directory in the family.
        """
        return self.read(kind, self.start / part) if self.start else None

    def read(self, kind: Any, folder: Path) -> Any:
        """A model of a checkpoint in full precision, on the device, to be trained on.

        Args:
            kind: its class.
        """
        return self.placed(kind.from_pretrained(folder).float().train())

    def placed(self, model: Any) -> Any:
        """A model on the device, its convolutions in the layout that is fast there."""
        layout = torch.channels_last if self.device == "cuda" else torch.contiguous_format
        return model.to(self.device, memory_format=layout)

    def examples(
        self, stage: Stage, vae: AutoencoderKL, tokenizer: CLIPTokenizer, shrink: int = 1
    ) -> LatentSet:
        """The scenes of a stage, encoded.

        Args:
            shrink: how many times smaller than they were drawn.
        """
        cache, device = self.output / "training" / f"latents-{shrink}.pt", torch.device(self.device)
        pool, plan = self.pool(stage, shrink), self.plan
        return encode_pool(pool, vae, tokenizer, device, plan.encode_batch, plan.mirrored, shrink, cache)

    def run(self, stage: Stage) -> Run:
        """For the loop."""
        return Run(
            folder=self.output / "training" / self.model,
            budget=self.budget,
            stage=stage,
            device=torch.device(self.device),
            seed=self.seed,
            resume=self.resume,
            compile=self.compile,
            save_every_s=self.plan.save_every_s,
            sheet_every_s=self.plan.sheet_every_s,
            foundation=self._foundation(),
        )

    def _foundation(self) -> dict[str, int]:
        """How far the trainings before this one are; those without a state are left out."""
        states = {name: load_state(self.output / "training" / name / STATE) for name in _ORDER[self.model]}
        return {name: state["step"] for name, state in states.items() if state}
