"""Manifests in a folder with a photo, and what becomes of them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot import Options
from packshot.catalog import attempts
from packshot.catalog.items import Item, Reader
from packshot.catalog.styles import Style
from packshot.cli import main
from tests.client.pictures import texture

STYLES = {
    "beach": Style(prompt="a {colour} cup on a beach"),
    "plain": Style(background_color="#ffffff"),
}


@pytest.fixture
def shop(tmp_path) -> Path:
    """A folder with photos: an opaque one of 120x80, a mask of it, and one with transparency."""
    Image.fromarray(texture(120, 80)).save(tmp_path / "photo.png")
    mask = np.zeros((80, 120), np.uint8)
    mask[20:60, 30:90] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:50]).save(tmp_path / "small_mask.png")
    Image.fromarray(np.dstack([texture(120, 80), mask])).save(tmp_path / "cup.png")
    (tmp_path / "note.txt").write_text("no picture")
    return tmp_path


@pytest.fixture
def read(shop):
    """Read lines as a manifest: its items, and what is wrong with it."""

    def read(*lines: dict[str, Any] | str) -> tuple[list[Item], list[str]]:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        manifest = shop / "manifest.jsonl"
        manifest.write_text("\n".join(texts) + "\n")
        return sorted_out(Reader(manifest, STYLES))

    return read


def sorted_out(reader: Reader) -> tuple[list[Item], list[str]]:
    """The items of a manifest, and its mistakes as text."""
    items, problems = [], []
    for each in reader:
        if isinstance(each, Item):
            items.append(each)
        else:
            problems += map(str, each)
    return items, problems


def line(**columns: Any) -> dict[str, Any]:
    """A good line with other columns; None leaves one out."""
    good = {"sku": "A1", "photo": "photo.png", "style": "plain"}
    return {name: value for name, value in {**good, **columns}.items() if value is not None}


SCENES = """
styles:
  beach: {prompt: "a {colour} cup on a beach", canvas: [96, 64], parameters: {num_inference_steps: 2}}
  plain: {background_color: "#ffffff", canvas: [64, 64]}
"""


def paint_noise(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A scene of random pixels, those of the seed and the prompt."""
    seed = [arrays["seed"].item(), *arrays["prompt"].item()]
    scene = np.random.default_rng(seed).integers(1, 255, arrays["image"].shape, np.uint8)
    return {"generated_image": scene, "num_truncated_tokens": np.zeros(2, np.int32)}


@dataclass
class Run:
    """How the command ended, and what it left."""

    status: int
    out: str
    err: str
    folder: Path

    def json(self, name: str) -> Any:
        """A file of JSON in the output folder."""
        return json.loads((self.folder / name).read_text())

    def lines(self, name: str) -> list[dict[str, Any]]:
        """A file of lines of JSON in the output folder."""
        return [json.loads(text) for text in (self.folder / name).read_text().splitlines()]

    def files(self, below: str) -> dict[str, bytes]:
        """Pictures by their path below the output folder."""
        root = self.folder / below
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.suffix in (".png", ".jpg", ".webp")
        }


@pytest.fixture
def catalog(shop, triton, monkeypatch, capsys):
    """Run ``packshot catalog`` in the shop; its output folder is ``out``."""
    monkeypatch.chdir(shop)
    monkeypatch.delenv("PACKSHOT_SERVER", raising=False)
    # Between the tries of an item; the servers here recover at once.
    monkeypatch.setattr(attempts, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(attempts, "Options", partial(Options, first_backoff_s=0.01))
    triton.models["generate"] = paint_noise
    (shop / "styles.yaml").write_text(SCENES)

    def catalog(*arguments: str, servers: tuple[str, ...] = (triton.address,)) -> Run:
        named = [text for server in servers for text in ("--server", server)]
        monkeypatch.setattr(sys, "argv", ["packshot", "catalog", *arguments, *named])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Run(int(ended.value.code or 0), printed.out, printed.err, shop / "out")

    return catalog


@pytest.fixture
def run(catalog, shop):
    """Write lines as a manifest, and run it."""

    def run(*lines: dict[str, Any] | str, options: tuple[str, ...] = (), **more: Any) -> Run:
        if lines:
            texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
            (shop / "manifest.jsonl").write_text("\n".join(texts) + "\n")
        return catalog("run", "manifest.jsonl", "--output", "out", *options, **more)

    return run


def cup(sku: str = "A1", **columns: Any) -> dict[str, Any]:
    """A line for a scene round a product that is cut out already."""
    return line(**{"sku": sku, "photo": "cup.png", "style": "beach", "colour": "red", "seed": 7, **columns})
