"""Real servers for the tests of this folder: one for each family, started when first asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot.family import Manifest
from packshot_serving.launcher import TritonServer
from tests.families import exported
from tests.integration.triton import Triton

#: Both topologies: linear projections, v-prediction and wide prompts; 1×1 convolutions and epsilon.
FAMILIES = ("tiny-sd2", "tiny-sd15")


class Served:
    """A family, exported and served."""

    def __init__(self, name: str, checkpoints: Path, server: TritonServer) -> None:
        self.name = name
        self.checkpoints = checkpoints
        self.server = server
        self.family = Manifest.read(server.repository).family
        self.triton = Triton(server.grpc_address)


@pytest.fixture(scope="session", params=FAMILIES)
def served(request):
    """Each of the tiny families in turn."""
    checkpoints, repository = exported(request.param)
    with TritonServer(repository) as server:
        yield Served(request.param, checkpoints, server)


@pytest.fixture(scope="session")
def tiny():
    """One of them, for tests that do not depend on the family."""
    checkpoints, repository = exported(FAMILIES[0])
    with TritonServer(repository) as server:
        yield Served(FAMILIES[0], checkpoints, server)
