"""YAML as people mean it: of two values under one name, none is dropped in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packshot.catalog.extra import needing
from packshot.errors import expected


def read_yaml(what: str, path: Path) -> Any:
    """What is in a YAML file: plain values alone.

    Args:
        what: names the file in messages.
        path: of the file.

    Raises:
        InvalidArgument: it cannot be read, is no YAML, or has a name twice in one place.
        PackshotError: the extra ``catalog`` is not installed.
    """
    yaml = needing("catalog", "yaml")

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _ in node.value:
                name = getattr(key, "value", None)
                if isinstance(name, str) and name in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{name!r} is there twice", problem_mark=key.start_mark
                    )
                seen.add(str(name))
            return node

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a month 13.
        raise expected(what, f"{path} ({' '.join(str(error).split())})", "a YAML file") from None
