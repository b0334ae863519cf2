"""The examples of docs/catalog.md are what they say they are."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from packshot.catalog.gate import Thresholds
from packshot.catalog.items import Item, Reader
from packshot.catalog.presets import PRESETS
from packshot.catalog.styles import load_styles

DOCS = (Path(__file__).parents[3] / "docs" / "catalog.md").read_text()


def example(language: str) -> str:
    """The document's one block in a language."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", DOCS, flags=re.DOTALL)
    return block


def test_the_example_s_lines_fit_its_styles(tmp_path):
    (tmp_path / "styles.yaml").write_text(example("yaml"))
    (tmp_path / "products.jsonl").write_text(example("json"))
    (tmp_path / "photos").mkdir()
    for name in ("mug.jpg", "mug8.png"):
        Image.new("RGB", (600, 400)).save(tmp_path / "photos" / name)
    styles = load_styles(tmp_path / "styles.yaml")
    items = list(Reader(tmp_path / "products.jsonl", styles))
    assert [item.sku for item in items if isinstance(item, Item)] == ["mug-7", "mug-8"], items
    assert styles["shop"].preset == "amazon-main"


def test_every_measure_and_preset_is_explained():
    for threshold in Thresholds.__dataclass_fields__:
        prefix, _, measure = threshold.partition("_")
        assert f"`{measure}`" in DOCS
        assert f"`{prefix}_`" in DOCS or f"`{threshold}: true`" in DOCS
    for preset in PRESETS:
        assert f"`{preset}`" in DOCS
