"""Which material a table is of: a small classifier, trained on renders, that judges generated scenes.

``python -m packshot_pocket.evaluation.materials --output FILE`` trains it; the evaluation does so itself
where there is none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot_pocket.renderer import MATERIALS, render_studio, renderer_version
from packshot_pocket.training import Budget, Progress, learning_rate, load_state, save_state

#: Tables are in the lower part of a picture, from this part of the height on.
_FROM = 0.4
SEED = 7


@dataclass(frozen=True, slots=True)
class Table:
    """The lower part of a scene.

    Attributes:
        image: uint8 [h, W, 3].
        region: bool [h, W], where the table is.
        material: its number in :data:`packshot_pocket.renderer.MATERIALS`.
    """

    image: np.ndarray
    region: np.ndarray
    material: int


class MaterialNet(nn.Module):
    """A few convolutions, and the mean and the maximum of what they see on the table."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 32, 64, 96, 128, 128)
        strides = (2, 2, 2, 1, 1)
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.SiLU()
            )
            for before, after, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )  # fmt: skip
        self.head = nn.Linear(2 * widths[-1], len(MATERIALS))

    def forward(self, image: Tensor, region: Tensor) -> Tensor:
        """uint8 [B, h, W, 3] and bool [B, h, W] → logits [B, materials]."""
        table = region[:, None].float()
        pixels = (image.permute(0, 3, 1, 2).float() / 127.5 - 1) * table
        features = torch.cat([pixels, table], dim=1)
        for convolution in self.convolutions:
            features = convolution(features)
        seen = F.adaptive_max_pool2d(table, features.shape[-2:])
        mean = (features * seen).sum(dim=(2, 3)) / seen.sum(dim=(2, 3)).clamp(min=1)
        most = features.masked_fill(seen == 0, -10.0).amax(dim=(2, 3))
        return self.head(torch.cat([mean, most], dim=1))


def lower_part(picture: np.ndarray) -> np.ndarray:
    """Where the table is: the lower rows of [H, W] or [H, W, 3]."""
    return picture[round(picture.shape[0] * _FROM) :]


def read_material(net: MaterialNet, picture: np.ndarray, table: np.ndarray) -> str:
    """The material of a table.

    Args:
        picture: uint8 [H, W, 3].
        table: bool [H, W].
    """
    # As it is and a little softer: grain is not all that tells a material.
    images = [lower_part(picture), lower_part(cv2.GaussianBlur(picture, (0, 0), 0.7))]
    regions = [lower_part(table)] * len(images)
    with torch.no_grad():
        logits = net(torch.tensor(np.stack(images)), torch.tensor(np.stack(regions)))
    return tuple(MATERIALS)[int(logits.log_softmax(dim=1).sum(dim=0).argmax())]


def train_materials(
    path: Path, scenes: int = 6000, steps: int = 1500, workers: int = 1, device: str = "cpu"
) -> MaterialNet:
    """Train on scenes of the training split and write the weights.

    Args:
        scenes: rendered once; every step sees 16 of them in another light.
        workers: processes that render.
        device: ``cpu`` or ``cuda``.
    """
    torch.manual_seed(SEED)
    tables: list[Table] = []
    for table in _rendered(range(scenes), workers):
        tables.append(table)
        if len(tables) % 1000 == 0:
            sys.stderr.write(f"materials  rendered {len(tables)}/{scenes}\n")
    net = MaterialNet().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    progress = Progress("materials", budget := Budget(steps=steps))
    rng = np.random.default_rng(SEED)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(2e-3, budget.fraction(step, 0), step, 50)
        chosen = [_varied(rng, tables[number]) for number in rng.integers(0, len(tables), 16)]
        logits = net(
            torch.from_numpy(np.stack([one.image for one in chosen])).to(device),
            torch.from_numpy(np.stack([one.region for one in chosen])).to(device),
        )
        truth = torch.tensor([one.material for one in chosen], device=device)
        loss = F.cross_entropy(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (logits.argmax(dim=1) == truth).float().mean()
        progress.tell(step, len(chosen), loss=loss.item(), right=right.item())
    save_materials(path, net.cpu())
    return net.eval()


def save_materials(path: Path, net: MaterialNet) -> None:
    """Write a classifier, on the CPU, and what it was trained on."""
    save_state(path, {"net": net.state_dict(), "renderer": renderer_version()})


def load_materials(path: Path, workers: int = 1, device: str = "cpu") -> MaterialNet:
    """The classifier of a file, trained first if there is none, or one of another renderer's scenes."""
    state = load_state(path)
    if state is None or state["renderer"] != renderer_version():
        return train_materials(path, workers=workers, device=device)
    net = MaterialNet()
    net.load_state_dict(state["net"])
    return net.eval()


def _rendered(seeds: range, workers: int) -> Iterator[Table]:
    if workers < 2:
        yield from map(_table, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_table, seeds, chunksize=16)


def _table(seed: int) -> Table:
    cv2.setNumThreads(0)
    # Far from the seeds that the models begin with; held-out scenes have their own split.
    scene = render_studio(1_000_000 + seed)
    material = tuple(MATERIALS).index(scene.truth.material)
    return Table(lower_part(scene.image), lower_part(scene.truth.table_region), material)


def _varied(rng: np.random.Generator, table: Table) -> Table:
    """As a VAE might give it back: softer, a little lighter or darker; and only some of it."""
    image, region = table.image, table.region
    if rng.random() < 0.5:
        image, region = image[:, ::-1], region[:, ::-1]
    picture = image.astype(np.float32)
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.2))
    picture = picture * rng.uniform(0.92, 1.08, 3) + rng.normal(0, 4)
    picture += rng.uniform(0, 3) * rng.standard_normal((*picture.shape[:2], 1), np.float32)
    if rng.random() < 0.5:
        cut = region.copy()
        cut[: int(rng.integers(0, len(region) // 2))] = False
        region = cut if cut.sum() > 500 else region
    clean = np.clip(picture, 0, 255).astype(np.uint8)
    return Table(clean, np.ascontiguousarray(region), table.material)


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m packshot_pocket.evaluation.materials")
    parser.add_argument("--output", type=Path, required=True, help="file of the weights")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args(arguments)
    train_materials(given.output, workers=given.workers, device=given.device)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
