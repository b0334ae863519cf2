"""The engine's figures on Triton's own Prometheus endpoint."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from packshot_serving.engine import Observer, Policy, StepReport
from packshot_serving.engine.capacity import StepTimes
from packshot_serving.engine.observer import OutcomeKind

#: Every update is a message to tritonserver; a scrape is seldom more frequent than this.
FLUSH_INTERVAL_S = 1.0

_COUNTERS = {
    "steps_total": "Denoising steps taken",
    "step_seconds_total": "Time in denoising steps",
    "slot_steps_total": "Requests in each step, summed over the steps",
    "rows_total": "UNet rows computed for requests",
    "control_rows_total": "Rows that the ControlNets worked on",
    "padding_rows_total": "UNet rows computed for nobody",
    "admissions_total": "Requests that took their first step",
    "admission_wait_seconds_total": "Time between arrival and first step",
}
_GAUGES = {"slots_in_use": "Requests that have a slot", "requests_waiting": "Requests that wait for one"}
_CAPACITY = {
    "max_slots": "Requests in work at the same time, at most",
    "max_batch": "Requests that step together; in a crowd more may",
    # Not "step_seconds", which is the name that OpenMetrics gives the counter above without its suffix.
    "measured_step_seconds": "Time of a step of so many slots, measured at load",
}


class MetricsObserver(Observer):
    """Counts, and hands the counts over once a second or when the engine falls idle.

    Args:
        times: what was measured when the model was loaded; shown as it is.
        policy: what was made of it.
    """

    def __init__(self, times: StepTimes, policy: Policy) -> None:
        self._held: list[Any] = []  # Triton drops a family or a metric that nobody holds
        counter, gauge = pb_utils.MetricFamily.COUNTER, pb_utils.MetricFamily.GAUGE
        self._counters = {name: self._family(name, text, counter)() for name, text in _COUNTERS.items()}
        self._gauges = {name: self._family(name, text, gauge)() for name, text in _GAUGES.items()}
        requests = self._family("requests_total", "Requests answered, by outcome", counter)
        for outcome in ("done", "failed", "cancelled", "unavailable"):
            self._counters[outcome] = requests(outcome=outcome)
        capacity = {name: self._family(name, text, gauge) for name, text in _CAPACITY.items()}
        capacity["max_slots"]().set(policy.max_slots)
        capacity["max_batch"]().set(policy.max_batch or policy.max_slots)
        for size, seconds in zip(times.batch_sizes, times.seconds, strict=True):
            capacity["measured_step_seconds"](slots=str(size)).set(seconds)
        self._pending: defaultdict[str, float] = defaultdict(float)
        self._flushed_at = 0.0

    def stepped(self, report: StepReport) -> None:
        """Count a step."""
        step = {"steps": 1, "step_seconds": report.seconds, "slot_steps": report.slots}
        step |= {"rows": report.rows, "control_rows": report.control_rows}
        step |= {"padding_rows": report.padding_rows}
        for name, amount in step.items():
            self._pending[f"{name}_total"] += amount

    def started(self, wait_s: float, priority: int) -> None:
        """Count an admission."""
        self._pending["admissions_total"] += 1
        self._pending["admission_wait_seconds_total"] += wait_s

    def ended(self, outcome: OutcomeKind, seconds: float, priority: int) -> None:
        """Count an answer."""
        self._pending[outcome] += 1

    def stands(self, slots_in_use: int, waiting: int) -> None:
        """Hand everything over, if it is time."""
        if slots_in_use and time.monotonic() - self._flushed_at < FLUSH_INTERVAL_S:
            return
        self._flushed_at = time.monotonic()
        for name, amount in self._pending.items():
            self._counters[name].increment(amount)
        self._pending.clear()
        self._gauges["slots_in_use"].set(slots_in_use)
        self._gauges["requests_waiting"].set(waiting)

    def _family(self, name: str, description: str, kind: Any) -> Any:
        """A function that makes metrics of this family, from their labels."""
        family = pb_utils.MetricFamily(name=f"packshot_denoiser_{name}", description=description, kind=kind)

        def metric(**labels: str) -> Any:
            self._held += [family, family.Metric(labels=labels)]
            return self._held[-1]

        return metric
