"""How checkpoints are written: in half precision, with a card that has the licence, which exports record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CARD = """---
license: apache-2.0
---
A part of packshot's pocket family: trained from nothing on rendered pictures, by `python -m {module}`.
`pocket/weights/README.md` in packshot's sources says how well.
"""


def write_weights(model: Any, folder: Path) -> None:
    """Write a diffusers model in half precision, without the path that it was read from.

    Args:
        model: changed to half precision.
    """
    model.half().save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_card(folder: Path, module: str) -> None:
    """Write the ``README.md`` of a checkpoint.

    Args:
        module: that has trained it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(_CARD.format(module=module))
