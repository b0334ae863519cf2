"""The named scenarios: frozen dataclasses whose fields fix inputs, seeds and counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from packshot_bench.context import Context
from packshot_bench.results import Row
from packshot_bench.scenarios.catalogue import Catalogue
from packshot_bench.scenarios.cold_start import ColdStart
from packshot_bench.scenarios.load import Concurrency, Load, MixedSteps, OpenLoop
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.scenarios.sam import InteractiveSam, VitBSam


class Scenario(Protocol):
    """Something to measure.

    Attributes:
        once: it takes long, and runs in a run's first round only.
    """

    once: bool

    @property
    def name(self) -> str:
        """In the results and on the command line."""
        ...

    def run(self, context: Context) -> Iterator[Row]:
        """Measure; rows come as soon as they are there."""
        ...


#: What ``packshot bench run`` runs, in this order: less than a quarter of an hour on two cores.
QUICK: tuple[Scenario, ...] = (
    OneShot(),
    ColdStart(),
    Load(),
    InteractiveSam(),
    Catalogue(items=6, in_flight=2),
)
#: What it runs with ``--full``: three quarters of an hour.
FULL: tuple[Scenario, ...] = (
    OneShot(names=(*OneShot().names, "diffusers compiled fp32")),
    ColdStart(names=(*ColdStart().names, "diffusers compiled fp32")),
    Load(
        (
            Concurrency(callers=(1, 2, 4, 8), pictures=4),
            OpenLoop(loads=(0.5, 0.8, 0.95), requests=20),
            MixedSteps(loads=(0.5, 0.8), requests=8),
        )
    ),
    InteractiveSam(),
    VitBSam(),
    Catalogue(),
)
#: What it runs by name only.
BY_NAME: tuple[Scenario, ...] = (OneShot(alone=True),)


def by_name(scenarios: Sequence[Scenario]) -> dict[str, Scenario]:
    """Each that can be run alone."""
    parts = (each.parts if isinstance(each, Load) else (each,) for each in scenarios)
    return {part.name: part for of_one in parts for part in of_one}
