"""What the tests of several scenarios share."""

from __future__ import annotations

import pytest

from packshot_bench import probe
from packshot_bench.context import Context
from packshot_bench.probe import Probe
from tests.families import exported


@pytest.fixture(scope="session", autouse=True)
def _short_looks():
    """Looks at the machine's speed that take no time: nothing is compared with them here."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_TIMES": 1, "_LOOKS": 1, "_SETTLE_S": 0.0}.items():
            patch.setattr(probe, name, value)
        yield


@pytest.fixture(scope="module")
def context():
    """Of a tiny family, two repeats."""
    checkpoints, repository = exported("tiny-sd2")
    return Context(repository, checkpoints, 2, lambda line: None, Probe())
