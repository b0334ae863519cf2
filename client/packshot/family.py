"""A family: the numbers that one set of checkpoints binds, and the manifest of its repository.

``packshot.json`` at the root of a model repository is a :class:`Manifest`. The family in it also
travels inside every generated ``config.pbtxt``, so a model that Triton fetched alone from a
remote repository, and a client that asks for the config, know it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from packshot.contract import FAMILY_SYMBOLS
from packshot.errors import RepositoryError, expected
from packshot.parameters import Parameters

MANIFEST_FILE = "packshot.json"
FORMAT = 1

Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True, slots=True)
class Canvas:
    """The canvas sizes a family accepts, in pixels.

    Attributes:
        multiple: width and height are multiples of it (the VAE's downscale factor).
        min_side: least width and height.
        max_side: greatest width and height.
        native_side: of the squares that the checkpoints were trained on; pictures of about as many pixels
            come out best.
    """

    multiple: int = 8
    min_side: int = 64
    max_side: int = 1024
    native_side: int = 512

    def check(self, width: int, height: int, what: str = "canvas") -> None:
        """Refuse a size that cannot be served.

        Raises:
            InvalidArgument: a side is out of range or not a multiple.
        """
        for side in (width, height):
            if not self.min_side <= side <= self.max_side or side % self.multiple:
                raise expected(
                    what,
                    f"{width}x{height}",
                    f"sides from {self.min_side} to {self.max_side}, multiples of {self.multiple}",
                )


@dataclass(frozen=True, slots=True)
class Family:
    """What a set of checkpoints fixes.

    Attributes:
        name: what people call it.
        precision: of the weights inside the graphs; inputs and outputs are fp32 throughout.
        dims: a number for every symbol in ``contract.FAMILY_SYMBOLS``.
        canvas: the canvas sizes it accepts.
        scheduler: the checkpoint's ``scheduler_config.json``: betas, prediction type and so on.
        generation_config: the checkpoint's ``generation_config.json``: values that suit it for fields of
            :class:`packshot.Parameters` that a caller leaves out; empty if it has none.
    """

    name: str
    precision: Precision
    dims: Mapping[str, int]
    canvas: Canvas
    scheduler: Mapping[str, Any]
    generation_config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.dims) != set(FAMILY_SYMBOLS):
            raise expected("family.dims", sorted(self.dims), sorted(FAMILY_SYMBOLS))
        known = Parameters.__dataclass_fields__
        if unknown := sorted(set(self.generation_config) - set(known)):
            raise expected("generation_config", ", ".join(unknown), f"some of {', '.join(known)}")
        self.parameters({})

    def parameters(self, given: Mapping[str, Any]) -> Parameters:
        """What a caller asks for, completed by what suits the checkpoints.

        Args:
            given: fields of :class:`packshot.Parameters` by name.

        Raises:
            InvalidArgument: a value is out of its range.
        """
        return Parameters(**{**self.generation_config, **given})

    def to_json(self) -> str:
        """One line of JSON, keys sorted, so that equal families give equal text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Family:
        """The inverse of ``asdict``."""
        return cls(**{**values, "canvas": Canvas(**values["canvas"])})

    @classmethod
    def from_json(cls, text: str) -> Family:
        """The inverse of :meth:`to_json`."""
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a part came from: a directory's name or hub id, its revision and licence if known."""

    source: str
    revision: str | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """``packshot.json``.

    Attributes:
        family: the family served.
        checkpoints: by part (``diffusion``, ``controlnet.0``, ``sam``).
        artifacts: path in the repository → sha256, for every file that holds weights or vocabulary.
        exporters: versions of what made the artifacts.
    """

    family: Family
    checkpoints: Mapping[str, Checkpoint]
    artifacts: Mapping[str, str]
    exporters: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the artifacts' names and hashes, and of the family's own parameters."""
        told = [dict(self.artifacts), dict(self.family.generation_config)]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def write(self, repository: Path) -> None:
        """Write ``packshot.json`` into a repository."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2, sort_keys=True)
        (repository / MANIFEST_FILE).write_text(text + "\n")

    @classmethod
    def read(cls, repository: Path) -> Manifest:
        """Read a repository's manifest.

        Raises:
            RepositoryError: there is none, or it cannot be understood.
        """
        path = repository / MANIFEST_FILE
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise RepositoryError(
                f"{repository}: no {MANIFEST_FILE}; `packshot export` makes a complete repository"
            ) from None
        except OSError as error:
            raise RepositoryError(f"{path}: {error.strerror}; expected a model repository") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RepositoryError(f"{path}: not JSON ({error})") from None
        try:
            if values["format"] != FORMAT:
                raise RepositoryError(f"{path}: got format {values['format']}, expected {FORMAT}")
            return cls(
                family=Family.from_dict(values["family"]),
                checkpoints={k: Checkpoint(**v) for k, v in values["checkpoints"].items()},
                artifacts=values["artifacts"],
                exporters=values["exporters"],
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RepositoryError(f"{path}: not a manifest of this version ({error!r})") from None

    def verify(self, repository: Path) -> None:
        """Compare every artifact with its recorded hash.

        Raises:
            RepositoryError: naming the first file that is missing or altered.
        """
        for name, recorded in self.artifacts.items():
            path = repository / name
            if not path.is_file():
                raise RepositoryError(f"{path}: missing; the manifest lists it")
            found = sha256(path)
            if found != recorded:
                raise RepositoryError(
                    f"{path}: got sha256 {found[:12]}…, expected {recorded[:12]}…; "
                    "the file was altered after the export"
                )


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
