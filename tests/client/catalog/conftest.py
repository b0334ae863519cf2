"""Manifests in a folder with a photo, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot.catalog.items import Item, Reader
from packshot.catalog.styles import Style
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
