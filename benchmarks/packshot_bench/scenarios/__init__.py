"""The named scenarios: frozen dataclasses whose fields fix inputs, seeds and counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from packshot_bench.context import Context
from packshot_bench.results import Row
from packshot_bench.scenarios.catalogue import Catalogue
from packshot_bench.scenarios.cold_start import ColdStart
from packshot_bench.scenarios.load import Concurrency, MixedSteps, OpenLoop
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.scenarios.sam import InteractiveSam, VitBSam


class Scenario(Protocol):
    """Something to measure.

    Attributes:
        name: in the results and on the command line.
    """

    name: str

    def run(self, context: Context) -> Iterator[Row]:
        """Measure; rows come as soon as they are there."""
        ...


def _named(*scenarios: Scenario) -> Mapping[str, Scenario]:
    return {scenario.name: scenario for scenario in scenarios}


#: What ``packshot bench run`` runs, in this order: a quarter of an hour on two cores.
QUICK = _named(
    OneShot(),
    ColdStart(),
    Concurrency(),
    OpenLoop(loads=(0.5, 0.8), requests=12),
    MixedSteps(requests=10),
    InteractiveSam(),
    Catalogue(items=20, block=20, requests=20),
)
#: What it runs with ``--full``: 69 minutes on two cores.
FULL = _named(
    OneShot(names=(*OneShot().names, "diffusers compiled fp32")),
    ColdStart(names=(*ColdStart().names, "diffusers compiled fp32")),
    Concurrency(callers=(1, 2, 4, 8, 16), rounds=3),
    OpenLoop(requests=40),
    MixedSteps(requests=30, loads=(0.5, 0.8)),
    InteractiveSam(),
    VitBSam(),
    Catalogue(items=150, block=50),
)
