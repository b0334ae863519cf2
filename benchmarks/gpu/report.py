"""The result: rows, printed as they come and written to disk after each."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from packshot_bench.failure import failure

Row = dict[str, Any]
NOT_BEGUN = "not begun: the time for this run is up"


class Report:
    """Rows by section.

    Args:
        output: the JSON file, or None for none. Sections that it has already are kept if they are not run.
        environment: what is the same for all rows.
        budget_s: seconds from now in which sections may begin.

    Raises:
        ValueError: the sections that the file has are of another card, device or size of models.
    """

    def __init__(self, output: Path | None, environment: Row, budget_s: float) -> None:
        self._output, self._began, self._budget_s = output, time.monotonic(), budget_s
        self.result: Row = {"sections": {}}
        if output is not None and output.exists():
            self.result = json.loads(output.read_text())
            there, here = _measured_on(self.result["environment"]), _measured_on(environment)
            if there != here:
                raise ValueError(f"{output}: got results of {there}, expected those of {here}")
        self.result["environment"] = environment
        self.failures = 0

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @property
    def late(self) -> bool:
        """Whether nothing more should begin."""
        return self.elapsed_s > self._budget_s

    def rows(self, section: str) -> list[Row]:
        """What a section has said, now or in an earlier run."""
        return self.result["sections"].get(section, {}).get("rows", [])

    def run(self, section: str, measure: Callable[[], Iterator[Row]]) -> None:
        """Take a section's rows; an error becomes its last one, and the others go on.

        A section that begins too late keeps what an earlier run has said.
        """
        if self.late and self.rows(section):
            self.failures += 1
            return
        entry: Row = {"rows": []}
        self.result["sections"][section] = entry
        began = self.elapsed_s
        if self.late:
            self._add(entry, section, {"error": NOT_BEGUN})
            return
        try:
            for row in measure():
                self._add(entry, section, row)
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest is worth measuring
            self._add(entry, section, {"error": failure(error)})
            sys.stderr.write(traceback.format_exc())
        entry["seconds"] = round(self.elapsed_s - began, 1)
        self._write()

    def finish(self) -> None:
        """Write the environment's last state, and how long everything took."""
        self.result["seconds"] = round(self.elapsed_s, 1)
        self._write()

    def _add(self, entry: Row, section: str, row: Row) -> None:
        entry["rows"].append(row)
        self.failures += "error" in row
        shown = {key: value for key, value in row.items() if not key.startswith("samples")}
        sys.stdout.write(f"{self.elapsed_s:6.1f} s  {section}: {json.dumps(shown)}\n")
        sys.stdout.flush()
        self._write()

    def _write(self) -> None:
        if self._output is not None:
            self._output.write_text(json.dumps(self.result, indent=1) + "\n")


def _measured_on(environment: Row) -> Row:
    """What may not change between the sections of a result."""
    gpu = environment.get("gpu")
    return {"gpu": gpu and gpu["name"], "device": environment.get("device"), "tiny": environment.get("tiny")}
