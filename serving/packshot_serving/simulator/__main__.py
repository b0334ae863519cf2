"""``python -m packshot_serving.simulator [SCENARIO …] [--output FILE]``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from packshot_serving.simulator.scenario import SCENARIOS
from packshot_serving.simulator.study import run_scenario


def main(arguments: list[str] | None = None) -> None:
    """Run scenarios; a table to standard output, everything to ``--output``."""
    parser = argparse.ArgumentParser(prog="python -m packshot_serving.simulator", description=__doc__)
    parser.add_argument("scenario", nargs="*", default=[], help=f"{', '.join(SCENARIOS)}; all if left out")
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.scenario) - set(SCENARIOS))
    if unknown:
        parser.error(f"scenario: got {', '.join(unknown)}, expected {', '.join(SCENARIOS)}")
    results = []
    for name in options.scenario or SCENARIOS:
        results.append(run_scenario(SCENARIOS[name]))
        sys.stdout.write(table(results[-1]))
        sys.stdout.flush()
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


def table(result: dict[str, Any]) -> str:
    """The summary of one scenario as text: mean over the seeds (least to greatest)."""
    policies = result["policies"]
    lines = [f"{result['scenario']:<46}" + "".join(f"{name:>30}" for name in policies)]
    for row in next(iter(policies.values()))["summary"]:
        cells = [policy["summary"][row] for policy in policies.values()]
        texts = [f"{cell['mean']:.3f} ({cell['least']:.3f} to {cell['greatest']:.3f})" for cell in cells]
        lines.append(f"  {row:<44}" + "".join(f"{text:>30}" for text in texts))
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main()
