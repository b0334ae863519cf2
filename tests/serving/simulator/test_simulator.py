"""The simulator: the engine's planner in virtual time, and what it is compared with."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from packshot.parameters import CATALOGUE, INTERACTIVE
from packshot_serving.engine.policy import Policy
from packshot_serving.simulator.__main__ import main, table
from packshot_serving.simulator.continuous import serve_continuously
from packshot_serving.simulator.scenario import H100, SCENARIOS, Scenario
from packshot_serving.simulator.served import latencies, slowdowns
from packshot_serving.simulator.study import run_scenario
from packshot_serving.simulator.traffic import Arrival, Traffic, at_rate
from packshot_serving.simulator.whole_request import WholeRequestBatching, serve_whole_requests

MIXED = Traffic(steps=((10, 1.0), (25, 1.0), (50, 1.0)), count=400)


def one_second_a_slot(slots: int) -> float:
    return float(slots)


def test_a_lone_request_takes_its_steps():
    (served,) = serve_continuously([Arrival(3.0, 10)], Policy(4), H100.at)
    assert (served.seated_s, served.started_s) == (3.0, 3.0)
    assert served.latency_s == pytest.approx(10 * 0.01378)


def test_a_newcomer_joins_the_next_step_and_a_short_one_leaves_first():
    batches = []
    served = serve_continuously(
        [Arrival(0.0, 4), Arrival(0.5, 1)],
        Policy(2),
        one_second_a_slot,
        lambda jobs: batches.append(len(jobs)),
    )
    assert batches == [1, 2, 1, 1]
    assert [(request.arrival.num_steps, request.ended_s) for request in served] == [(1, 3.0), (4, 5.0)]


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name.startswith("h100")])
@pytest.mark.parametrize("policy", ["plain", "default"])
def test_while_slots_are_free_admission_takes_at_most_one_step(name, policy):
    scenario = SCENARIOS[name]
    chosen = replace(scenario.policies[policy], max_slots=10_000)
    served = serve_continuously(at_rate(MIXED.at_unit_rate(0), 5.0), chosen, H100.at)
    longest_step = H100.at(400)
    assert max(request.seated_s - request.arrival.time_s for request in served) <= longest_step
    roomy = replace(chosen, max_batch=10_000)
    served = serve_continuously(at_rate(MIXED.at_unit_rate(0), 5.0), roomy, H100.at)
    assert max(request.started_s - request.arrival.time_s for request in served) <= longest_step
    assert all(request.seated_s == request.started_s for request in served)


def test_nobody_starves_under_overload():
    """Twice what the machine can serve: everybody is passed by for a bounded time only."""
    policy = SCENARIOS["h100-mixed"].policies["default"]
    traffic = replace(MIXED, catalogue_share=0.5, lanes=3, count=600)
    served = serve_continuously(at_rate(traffic.at_unit_rate(0), 20.0), policy, H100.at)
    assert len(served) == 600
    end = max(request.ended_s for request in served)
    plain = serve_continuously(
        at_rate(traffic.at_unit_rate(0), 20.0), replace(policy, max_batch=None), H100.at
    )
    assert end <= 1.5 * max(request.ended_s for request in plain)
    # A slot is held for no longer than the handicaps and the work of one full house.
    house = policy.max_slots * 50 * H100.at(1)
    bound = (
        policy.catalogue_handicap_s + (policy.patience + policy.late_patience) * 50 * policy.step_s + house
    )
    assert max(request.ended_s - request.seated_s for request in served) <= bound


def test_catalogue_work_makes_way():
    traffic = replace(MIXED, catalogue_share=0.5, count=2000)
    policy = SCENARIOS["h100-mixed"].policies["default"]
    served = serve_continuously(at_rate(traffic.at_unit_rate(0), 7.0), policy, H100.at)

    def p99(priority: int) -> float:
        return float(
            np.percentile(slowdowns([s for s in served if s.arrival.priority == priority], H100.at(1)), 99)
        )

    assert 1.5 * p99(INTERACTIVE) < p99(CATALOGUE)


def test_a_whole_batch_is_as_slow_as_its_longest_and_the_late_wait_for_all_of_it():
    arrivals = [Arrival(0.0, 10), Arrival(0.0, 50), Arrival(0.1, 10)]
    served = serve_whole_requests(arrivals, WholeRequestBatching(4, 0.0), one_second_a_slot)
    assert [request.ended_s for request in served] == [100.0, 100.0, 110.0]


def test_a_batch_waits_for_its_delay_unless_it_is_full():
    arrivals = [Arrival(0.0, 1), Arrival(0.3, 1), Arrival(10.0, 1), Arrival(10.1, 1)]
    served = serve_whole_requests(arrivals, WholeRequestBatching(2, 0.5), one_second_a_slot)
    assert [request.started_s for request in served] == [0.3, 0.3, 10.1, 10.1]
    lone = serve_whole_requests(arrivals[:1], WholeRequestBatching(2, 0.5), one_second_a_slot)
    assert lone[0].started_s == 0.5


def test_whole_batches_hold_one_lane():
    arrivals = [Arrival(0.0, 2, lane=0), Arrival(0.0, 3, lane=1), Arrival(0.0, 2, lane=0)]
    served = serve_whole_requests(arrivals, WholeRequestBatching(4, 0.0), one_second_a_slot)
    assert [(request.arrival.lane, request.ended_s) for request in served] == [(0, 4.0), (0, 4.0), (1, 7.0)]


def test_traffic_is_a_function_of_its_seed_and_has_the_rate_asked_for():
    arrivals = MIXED.at_unit_rate(3)
    assert arrivals == MIXED.at_unit_rate(3) != MIXED.at_unit_rate(4)
    assert {arrival.num_steps for arrival in arrivals} == {10, 25, 50}
    assert at_rate(arrivals, 8.0)[-1].time_s == pytest.approx(arrivals[-1].time_s / 8)
    assert MIXED.mean_steps == pytest.approx(85 / 3)


def test_steps_beat_whole_requests_on_the_same_arrivals():
    given = at_rate(MIXED.at_unit_rate(0), 3.0)
    ours = latencies(serve_continuously(given, SCENARIOS["h100-mixed"].policies["default"], H100.at))
    theirs = latencies(serve_whole_requests(given, WholeRequestBatching(16, 0.0), H100.at))
    assert ours.mean() < 0.6 * theirs.mean()


def test_a_scenario_s_results_are_plain_json():
    mixed = SCENARIOS["h100-mixed"]
    small = Scenario(
        "small",
        replace(MIXED, count=150),
        H100,
        mixed.policies,
        (WholeRequestBatching(8, 0.0),),
        seeds=(0, 1),
    )
    result = run_scenario(small)
    assert json.loads(json.dumps(result))["scenario"] == "small"
    assert "goodput_ratio" in table(result)
    summary = result["policies"]["default"]["summary"]["goodput_ratio"]
    assert summary["least"] <= summary["mean"] <= summary["greatest"]
    assert len(result["policies"]["plain"]["runs"]) == 2


def test_an_unknown_scenario_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["h200"])
    assert "got h200, expected h100-equal" in capsys.readouterr().err
