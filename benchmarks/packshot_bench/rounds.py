"""A run: scenarios round after round, so that chance can be told from what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from packshot_bench.context import Context
from packshot_bench.results import Row, merged, until_it_breaks
from packshot_bench.scenarios import Scenario


def measured(
    scenarios: Sequence[Scenario], context: Context, rounds: int
) -> Iterator[tuple[Row, tuple[Row, ...]]]:
    """Measure everything in each round, with servers and subjects that start anew.

    Yields:
        A round's row, and all rows until now, those of one key as one.
    """
    found: dict[str, list[Row]] = {}
    for number in range(rounds):
        of_round = replace(context, round=number)
        for scenario in scenarios:
            if number and scenario.once:
                continue
            context.tell(f"round {number + 1}/{rounds}: {scenario.name}")
            for row in until_it_breaks(scenario.name, scenario.run(of_round)):
                found.setdefault(row.key, []).append(row)
                yield row, tuple(map(merged, found.values()))
