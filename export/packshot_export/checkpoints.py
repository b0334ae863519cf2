"""Where checkpoints are found: a directory, or a hub id with an optional ``@revision``."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import nn

from packshot.errors import ExportError, InvalidArgument, expected
from packshot.family import Checkpoint

#: A line of a model card's metadata. A pattern, since one word is all we want of that YAML.
_LICENSE = re.compile(r"""^license:\s*["']?([\w.+-]+)["']?\s*$""", re.MULTILINE)
_WANTED = "a directory that exists, or a hub id (OWNER/NAME or OWNER/NAME@REVISION)"


@dataclass(frozen=True, slots=True)
class Source:
    """One checkpoint.

    Attributes:
        part: what it is for: ``diffusion``, ``controlnet.0``, ``sam``.
        location: a directory, or a hub id.
        revision: the commit, for a hub id.
    """

    part: str
    location: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """A directory's name, or the hub id. Paths are the exporter's own business."""
        return self.location if self.revision else Path(self.location).resolve().name

    def find(self, path: str) -> Path | None:
        """A file of the checkpoint, fetched if need be; None if it has none of that name."""
        if self.revision is None:
            file = Path(self.location) / path
            return file if file.is_file() else None
        return _fetch(self.part, self.location, path, self.revision)

    def config(self, path: str) -> dict[str, Any]:
        """A JSON file of the checkpoint.

        Raises:
            ExportError: it is not there, or is not JSON.
        """
        file = self.find(path)
        if file is None:
            wanted = "expected a checkpoint in the format of diffusers or transformers"
            raise ExportError(f"{self.part}: {self.location} has no {path}; {wanted}")
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ExportError(f"{self.part}: {self.location}/{path} is not JSON ({error})") from None

    def checkpoint(self) -> Checkpoint:
        """What the manifest records of it."""
        return Checkpoint(self.name, self.revision, self._license())

    def _license(self) -> str | None:
        """The licence that the model card's metadata names."""
        card = self.find("README.md")
        if card is None:
            return None
        parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
        named = _LICENSE.search(parts[1]) if len(parts) == 3 else None
        return named and named[1]


def open_source(part: str, text: str) -> Source:
    """Understand what a caller named.

    Raises:
        InvalidArgument: it is neither a directory nor a hub id that can be reached.
    """
    if Path(text).is_dir():
        return Source(part, str(text))
    location, _, revision = text.partition("@")
    if location.count("/") != 1 or location[0] in "./~":
        raise expected(part, text, _WANTED)
    marker = "model_index.json" if part == "diffusion" else "config.json"
    try:
        file = _fetch(part, location, marker, revision or "main")
    except HFValidationError:
        raise expected(part, text, _WANTED) from None
    if file is None:
        raise expected(part, f"{text}, which has no {marker}", "a checkpoint of diffusers or transformers")
    # The cache keeps files by commit: …/snapshots/COMMIT/FILE.
    return Source(part, location, file.parent.name)


def full_config(kind: type[nn.Module], config: Mapping[str, Any]) -> dict[str, Any]:
    """A diffusers config with the defaults that its class gives to what is left out."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {**defaults, **config}


def _fetch(part: str, location: str, path: str, revision: str) -> Path | None:
    """A file from the hub or its cache."""
    where = f"{part}: {location}@{revision}"
    try:
        return Path(hf_hub_download(location, path, revision=revision))
    except LocalEntryNotFoundError:
        raise InvalidArgument(
            f"{where}: the hub cannot be reached and its cache does not hold {path}; give a directory instead"
        ) from None
    except EntryNotFoundError:
        return None
    except GatedRepoError:
        raise InvalidArgument(f"{where}: access needs its owner's consent; log in to the hub first") from None
    except RevisionNotFoundError:
        raise InvalidArgument(f"{where}: the hub has no such revision") from None
    except RepositoryNotFoundError:
        raise InvalidArgument(f"{where}: neither a directory nor on the hub") from None
    except (HfHubHTTPError, OSError) as error:
        raise InvalidArgument(
            f"{where}: the hub cannot be reached ({type(error).__name__}); give a directory instead"
        ) from None
