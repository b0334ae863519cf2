"""Interactive cutting out: the first prompt on a photo, and the next ones on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from packshot import Studio
from packshot.family import Manifest
from packshot.sam_prompts import Letterbox, SamPrompt, sam_prompts
from packshot_bench.context import Context
from packshot_bench.results import Row
from packshot_serving.launcher import TritonServer

#: Photos that do not count. A server's first ones take half as long again.
_WARM = 4


@dataclass(slots=True)
class _Samples:
    """Seconds of prompts, and of the speed probe beside each."""

    took_s: list[float] = field(default_factory=list)
    probe_s: list[float] = field(default_factory=list)

    def add(self, took_s: Sequence[float], probed_s: float) -> None:
        self.took_s += took_s
        self.probe_s += [probed_s] * len(took_s)


@dataclass(frozen=True, slots=True)
class InteractiveSam:
    """A person points at a photo, and then again: the server keeps the photo's embedding.

    Attributes:
        width, height: of the photo in pixels.
        photos: of each round, after those that warm everything up.
        next_prompts: on each photo, after the first.
    """

    name = "interactive_sam"
    once = False
    width: int = 600
    height: int = 400
    photos: int = 6
    next_prompts: int = 3

    def run(self, context: Context) -> Iterator[Row]:
        """Rows for packshot's first and next prompts, and for transformers' whole model."""
        first, after, theirs = _Samples(), _Samples(), _Samples()
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            repository, checkpoints = self.repository(context, scratch)
            letterbox = Letterbox(self.width, self.height, Manifest.read(repository).family.dims["S"])
            size = np.array(letterbox.reshaped_input_size, np.int64)
            server = stack.enter_context(TritonServer(repository, drain=False))
            studio = stack.enter_context(Studio(server.grpc_address))
            model = _Transformers(checkpoints)
            for number in range(-_WARM, self.photos):
                context.tell(f"{self.name}: photo {number + _WARM + 1}/{self.photos + _WARM}")
                random = np.random.default_rng((context.round, number + _WARM))
                photo = random.integers(0, 256, (self.height, self.width, 3), np.uint8)
                square = letterbox.fit(photo)
                prompts = [self._prompt(letterbox, random) for _ in range(1 + self.next_prompts)]
                probed_s, took, alone_s = context.probe(), [], 0.0
                for whose in context.in_turn(("packshot", "transformers"), number):
                    if whose == "transformers":
                        alone_s = _seconds(partial(model.segment, square, prompts[0].point_coords[:1]))
                    else:
                        took = [_seconds(partial(studio.segment, square, size, each)) for each in prompts]
                if number >= 0:
                    probed_s = (probed_s + context.probe()) / 2
                    first.add(took[:1], probed_s)
                    after.add(took[1:], probed_s)
                    theirs.add([alone_s], probed_s)
        for samples, subject, prompt in (
            (first, "packshot", "first"),
            (after, "packshot", "next"),
            (theirs, "transformers", "any"),
        ):
            yield Row(self.name, subject, {"prompt": prompt}, tuple(samples.took_s), tuple(samples.probe_s))

    def repository(self, context: Context, scratch: Path) -> tuple[Path, Path]:
        """What is served, and the checkpoints that it was exported from."""
        return context.repository, context.checkpoints

    def _prompt(self, letterbox: Letterbox, random: np.random.Generator) -> SamPrompt:
        point = random.uniform((0, 0), (self.width, self.height))
        return sam_prompts(letterbox, points=[point.tolist()])[0]


@dataclass(frozen=True, slots=True)
class VitBSam(InteractiveSam):
    """The same with a SAM of ViT-B's size, of random weights; the rest of its family is tiny."""

    name = "vit_b_sam"
    once = True
    photos: int = 3

    def repository(self, context: Context, scratch: Path) -> tuple[Path, Path]:
        """Makes the checkpoints and exports them, which takes minutes."""
        from packshot_export.export import export_repository
        from packshot_export.families import FULL_SIZE, SPECS, write_checkpoints

        sizes = {name: value for name, value in asdict(FULL_SIZE).items() if name.startswith("sam_")}
        checkpoints, repository = scratch / "checkpoints", scratch / "repository"
        write_checkpoints(replace(SPECS["tiny-sd2"], mlp_ratio=FULL_SIZE.mlp_ratio, **sizes), checkpoints)
        context.tell(f"{self.name}: exporting")
        export_repository(
            checkpoints / "diffusion", [checkpoints / "controlnet"], checkpoints / "sam", repository
        )
        return repository, checkpoints


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class _Transformers:
    """``SamModel`` in this process, which encodes the photo for every prompt."""

    def __init__(self, checkpoints: Path) -> None:
        import torch
        from transformers import SamModel

        from packshot_export.checkpoints import Source
        from packshot_export.loading import load_model

        self._torch = torch
        # In fp32, as the default repository computes it; the file is in half precision.
        self._model: Any = load_model(Source("sam", str(checkpoints / "sam")), SamModel)

    def segment(self, square: np.ndarray, points: np.ndarray) -> None:
        """One prompt.

        Args:
            square: uint8 [S, S, 3].
            points: float32 [N, 2], in pixels of the square.
        """
        torch = self._torch
        pixels = torch.from_numpy(square.transpose(2, 0, 1).astype(np.float32))[None] / 255
        with torch.inference_mode():
            self._model(pixel_values=pixels, input_points=torch.tensor(points)[None, None])
