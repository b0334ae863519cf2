"""Real servers for the tests of this folder: one for each family, started when first asked for."""

from __future__ import annotations

import functools
from contextlib import ExitStack
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


@pytest.fixture(scope="session")
def start():
    """Starts a family's server, once."""
    with ExitStack() as running:

        @functools.cache
        def started(name: str) -> Served:
            checkpoints, repository = exported(name)
            server = running.enter_context(TritonServer(repository, drain=False))
            return Served(name, checkpoints, server)

        yield started


@pytest.fixture(scope="session", params=FAMILIES)
def served(request, start):
    """Each of the tiny families in turn."""
    return start(request.param)


@pytest.fixture(scope="session")
def tiny(start):
    """One of them, for tests that do not depend on the family."""
    return start(FAMILIES[0])
