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
    "packshot_denoiser_steps_total": "Denoising steps taken",
    "packshot_denoiser_step_seconds_total": "Time in denoising steps",
    "packshot_denoiser_slot_steps_total": "Requests in each step, summed over the steps",
    "packshot_denoiser_rows_total": "UNet rows computed for requests",
    "packshot_denoiser_control_rows_total": "Rows that the ControlNets worked on",
    "packshot_denoiser_padding_rows_total": "UNet rows computed for nobody",
    "packshot_denoiser_admissions_total": "Requests that took their first step",
    "packshot_denoiser_admission_wait_seconds_total": "Time between arrival and first step",
}
_REQUESTS = "packshot_denoiser_requests_total"
_SLOTS = "packshot_denoiser_slots_in_use"
#: Not "step_seconds", which is the name that OpenMetrics gives the counter above without its suffix.
_MEASURED = "packshot_denoiser_measured_step_seconds"
_MAX_SLOTS = "packshot_denoiser_max_slots"
_MAX_BATCH = "packshot_denoiser_max_batch"


class MetricsObserver(Observer):
    """Counts, and hands the counts over once a second or when the engine falls idle.

    Args:
        times: what was measured when the model was loaded; shown as it is.
        policy: what was made of it.
    """

    def __init__(self, times: StepTimes, policy: Policy) -> None:
        kinds = pb_utils.MetricFamily
        # Triton drops a family that nobody holds.
        self._families: list[Any] = []
        self._counters = {
            name: self._family(name, text, kinds.COUNTER).Metric(labels={})
            for name, text in _COUNTERS.items()
        }
        requests = self._family(_REQUESTS, "Requests answered, by outcome", kinds.COUNTER)
        for outcome in ("done", "failed", "cancelled", "unavailable"):
            self._counters[outcome] = requests.Metric(labels={"outcome": outcome})
        self._slots = self._family(_SLOTS, "Slots in use", kinds.GAUGE).Metric(labels={})
        self._show_capacity(times, policy)
        self._pending: defaultdict[str, float] = defaultdict(float)
        self._flushed_at = 0.0

    def stepped(self, report: StepReport) -> None:
        """Count a step."""
        step = {"steps": 1, "step_seconds": report.seconds, "slot_steps": report.slots}
        step |= {"rows": report.rows, "control_rows": report.control_rows}
        step |= {"padding_rows": report.padding_rows}
        for name, amount in step.items():
            self._pending[f"packshot_denoiser_{name}_total"] += amount
        if report.slots_in_use == 0 or time.monotonic() - self._flushed_at > FLUSH_INTERVAL_S:
            self._flush()
            self._slots.set(report.slots_in_use)

    def started(self, wait_s: float, priority: int) -> None:
        """Count an admission."""
        self._pending["packshot_denoiser_admissions_total"] += 1
        self._pending["packshot_denoiser_admission_wait_seconds_total"] += wait_s

    def ended(self, outcome: OutcomeKind, seconds: float, priority: int) -> None:
        """Count an answer."""
        self._pending[outcome] += 1
        self._flush()

    def _show_capacity(self, times: StepTimes, policy: Policy) -> None:
        gauge = pb_utils.MetricFamily.GAUGE
        measured = self._family(_MEASURED, "Time of a step of so many slots, measured at load", gauge)
        max_slots = self._family(_MAX_SLOTS, "Requests in work at the same time, at most", gauge)
        max_batch = self._family(_MAX_BATCH, "Requests that step together; in a crowd more may", gauge)
        # Triton drops a metric that nobody holds, too.
        self._capacity: dict[Any, float] = {
            max_slots.Metric(labels={}): policy.max_slots,
            max_batch.Metric(labels={}): policy.max_batch or policy.max_slots,
        }
        for size, seconds in zip(times.batch_sizes, times.seconds, strict=True):
            self._capacity[measured.Metric(labels={"slots": str(size)})] = seconds
        for metric, value in self._capacity.items():
            metric.set(value)

    def _family(self, name: str, description: str, kind: Any) -> Any:
        self._families.append(pb_utils.MetricFamily(name=name, description=description, kind=kind))
        return self._families[-1]

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        for name, amount in self._pending.items():
            self._counters[name].increment(amount)
        self._pending.clear()
