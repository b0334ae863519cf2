"""Step-level against whole-request batching on the same arrivals, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np

from packshot_serving.engine.policy import MAX_SLOWDOWN, Policy
from packshot_serving.simulator.continuous import serve_continuously
from packshot_serving.simulator.scenario import Scenario
from packshot_serving.simulator.served import Served, latencies, slowdowns
from packshot_serving.simulator.traffic import Arrival, at_rate
from packshot_serving.simulator.whole_request import WholeRequestBatching, serve_whole_requests

Serve = Callable[[list[Arrival]], list[Served]]

LOADS = (0.8, 0.95)
#: Mean latency near saturation needs longer runs to settle than percentiles far from it.
LONG_RUN = 2


def run_scenario(scenario: Scenario) -> dict[str, Any]:
    """All policies of a scenario, for each seed; plain JSON values.

    ``baseline`` is whole-request batching at its best: the configuration with the highest goodput
    for that seed. Ratios are ours over its, on the same arrivals.
    """
    runs = [_run_seed(scenario, seed) for seed in scenario.seeds]
    return {
        "scenario": scenario.name,
        "traffic": asdict(scenario.traffic),
        "step_times": asdict(scenario.step_times),
        "max_slowdown": MAX_SLOWDOWN,
        "baselines": [run["baseline"] for run in runs],
        "policies": {
            name: {
                "policy": asdict(policy),
                "summary": _summary([run["policies"][name] for run in runs]),
                "runs": [run["policies"][name] for run in runs],
            }
            for name, policy in scenario.policies.items()
        },
    }


def goodput(serve: Serve, unit_rate: list[Arrival], step_alone_s: float, capacity: float) -> float:
    """The highest rate, to 1 %, at which p99 of the slowdown is at most ``MAX_SLOWDOWN``.

    Args:
        serve: the server.
        unit_rate: arrivals, one a second on average.
        step_alone_s: seconds of a step of one slot.
        capacity: requests a second that no server can exceed.
    """
    low, high = capacity / 200, capacity
    while high / low > 1.01:
        rate = (low * high) ** 0.5
        served = serve(at_rate(unit_rate, rate))
        if np.percentile(slowdowns(served, step_alone_s), 99) <= MAX_SLOWDOWN:
            low = rate
        else:
            high = rate
    return low


def _run_seed(scenario: Scenario, seed: int) -> dict[str, Any]:
    arrivals = scenario.traffic.at_unit_rate(seed)
    long_run = replace(scenario.traffic, count=LONG_RUN * scenario.traffic.count).at_unit_rate(seed)
    times = cache(scenario.step_times.at)
    alone = times(1)
    capacity = 64 / times(64) / scenario.traffic.mean_steps

    def whole(batching: WholeRequestBatching) -> Serve:
        return lambda given: serve_whole_requests(given, batching, times)

    found = [(goodput(whole(b), arrivals, alone, capacity), b) for b in scenario.baselines]
    best_goodput, best = max(found, key=lambda pair: pair[0])
    saturation = _saturation(whole(best), long_run)
    overall = max(_saturation(whole(b), long_run) for b in scenario.baselines)
    results = {}
    for name, policy in scenario.policies.items():
        serve = _continuous(policy, times)
        ours = goodput(serve, arrivals, alone, capacity)
        results[name] = {
            "goodput_per_s": ours,
            "goodput_ratio": ours / best_goodput,
            **_at_loads(serve, whole, best, scenario.baselines, long_run, saturation),
            **_at_saturation(serve(at_rate(long_run, overall)), alone),
        }
    baseline = {
        **asdict(best),
        "goodput_per_s": best_goodput,
        "saturation_per_s": saturation,
        "highest_saturation_per_s": overall,
    }
    return {"baseline": baseline, "policies": results}


def _continuous(policy: Policy, times: Callable[[int], float]) -> Serve:
    return lambda given: serve_continuously(given, policy, times)


def _saturation(serve: Serve, arrivals: list[Arrival]) -> float:
    """Requests a second with everybody there from the start."""
    served = serve(at_rate(arrivals, 1e9))
    return len(served) / max(request.ended_s for request in served)


def _at_loads(
    serve: Serve,
    whole: Callable[[WholeRequestBatching], Serve],
    best: WholeRequestBatching,
    baselines: Sequence[WholeRequestBatching],
    arrivals: list[Arrival],
    saturation: float,
) -> dict[str, float]:
    """Mean latency over that of the baseline, and over the least that any baseline has there."""
    results = {}
    for load in LOADS:
        given = at_rate(arrivals, load * saturation)
        ours = latencies(serve(given))
        means = {baseline: latencies(whole(baseline)(given)).mean() for baseline in (best, *baselines)}
        results[f"mean_latency_ratio_at_{load:.2f}"] = float(ours.mean() / means[best])
        results[f"mean_latency_ratio_to_least_at_{load:.2f}"] = float(ours.mean() / min(means.values()))
    return results


def _at_saturation(served: list[Served], step_alone_s: float) -> dict[str, float]:
    """How ours does at the load that saturates every baseline."""
    results: dict[str, float] = {}
    for steps in sorted({request.arrival.num_steps for request in served}):
        kind = [request.latency_s for request in served if request.arrival.num_steps == steps]
        results[f"p99_latency_s_of_{steps}_steps_at_saturation"] = float(np.percentile(kind, 99))
    waits = [request.started_s - request.arrival.time_s for request in served]
    results["longest_wait_s_at_saturation"] = max(waits)
    results["longest_latency_s_at_saturation"] = float(latencies(served).max())
    results["greatest_slowdown_at_saturation"] = float(slowdowns(served, step_alone_s).max())
    return results


def _summary(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "mean": float(np.mean([run[name] for run in runs])),
            "least": min(run[name] for run in runs),
            "greatest": max(run[name] for run in runs),
        }
        for name in runs[0]
    }
