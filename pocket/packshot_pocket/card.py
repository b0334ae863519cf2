"""The card of a checkpoint: its licence, which an export records, and where it comes from."""

from __future__ import annotations

from pathlib import Path

_CARD = """---
license: apache-2.0
---
A part of packshot's pocket family: trained from nothing on rendered pictures, by `python -m {module}`.
`pocket/weights/README.md` in packshot's sources says how well.
"""


def write_card(folder: Path, module: str) -> None:
    """Write the ``README.md`` of a checkpoint.

    Args:
        module: that has trained it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(_CARD.format(module=module))
