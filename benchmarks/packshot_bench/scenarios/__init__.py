"""The named scenarios: frozen dataclasses whose fields fix inputs, seeds and counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from packshot_bench.context import Context
from packshot_bench.results import Row
from packshot_bench.scenarios.load import Concurrency, MixedSteps, OpenLoop
from packshot_bench.scenarios.one_shot import OneShot
from packshot_bench.scenarios.sam import InteractiveSam


class Scenario(Protocol):
    """Something to measure.

    Attributes:
        name: in the results and on the command line.
    """

    name: str

    def run(self, context: Context) -> Iterator[Row]:
        """Measure; rows come as soon as they are there."""
        ...


#: What ``packshot bench run`` runs, in this order.
SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (OneShot(), Concurrency(), OpenLoop(), MixedSteps(), InteractiveSam())
}
