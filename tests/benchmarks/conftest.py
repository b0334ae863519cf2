"""What the tests of several scenarios share."""

from __future__ import annotations

import pytest

from packshot_bench.context import Context
from packshot_bench.probe import Probe
from tests.families import exported


@pytest.fixture(scope="module")
def context():
    """Of a tiny family, two repeats."""
    checkpoints, repository = exported("tiny-sd2")
    return Context(repository, checkpoints, 2, lambda line: None, Probe())
