"""Both tiny families, exported once; variants that are cheap to make."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot_export.families import FamilySpec, write_checkpoints
from packshot_export.parts import Parts, open_parts
from tests import families
from tests.families import exported


@pytest.fixture(scope="session", params=["tiny-sd2", "tiny-sd15"])
def family(request) -> tuple[Path, Path]:
    """Checkpoints and repository of each tiny family."""
    return exported(request.param)


@pytest.fixture(scope="session")
def checkpoints() -> Path:
    """The checkpoints of the SD2-shaped family."""
    return exported("tiny-sd2")[0]


def parts_of(checkpoints: Path, controlnets: tuple[Path, ...] = (), precision="fp32") -> Parts:
    """A directory's ``diffusion``, ``controlnet`` and ``sam``, opened."""
    nets = controlnets or families.controlnets(checkpoints)
    return open_parts(
        str(checkpoints / "diffusion"), [str(net) for net in nets], str(checkpoints / "sam"), precision
    )


def made(spec: FamilySpec, directory: Path) -> Path:
    """Checkpoints of a spec."""
    write_checkpoints(spec, directory)
    return directory
