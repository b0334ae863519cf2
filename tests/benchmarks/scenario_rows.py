"""What a scenario says."""

from __future__ import annotations

from packshot_bench.context import Context
from packshot_bench.results import Row
from packshot_bench.scenarios import Scenario


def rows_of(scenario: Scenario, context: Context) -> dict[str, Row]:
    """A scenario's rows, by subject."""
    return {row.subject: row for row in scenario.run(context)}
