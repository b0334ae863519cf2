"""The committed scenarios."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from packshot_serving.engine.capacity import StepTimes, choose_policy
from packshot_serving.engine.policy import Policy
from packshot_serving.simulator.traffic import Traffic
from packshot_serving.simulator.whole_request import WholeRequestBatching

#: The published shape of an H100: efficiency 0.20 alone, 0.73 at 64.
H100 = StepTimes.affine(base_s=0.010, slot_s=0.00378)
#: Two CPU cores, where a batch of n takes n times as long.
CPU = StepTimes.affine(base_s=0.002, slot_s=0.080)
#: The default family on two cores, measured: batches are up to a fifth faster.
SMALL = StepTimes((1, 2, 4, 8, 16), (0.057, 0.101, 0.189, 0.372, 0.774))

#: So many arrivals that a queue at 95 % of its saturation is as long as it gets: with a fifth of them the
#: ratios there differ by half from seed to seed.
ARRIVALS = 20_000
EQUAL = Traffic(steps=((25, 1.0),), count=ARRIVALS)
MIXED = Traffic(steps=((10, 1.0), (25, 1.0), (50, 1.0)), count=ARRIVALS)

#: First come, first served, and everybody steps: the plain sketch that a policy has to beat.
PLAIN = Policy(max_slots=64, max_lanes=64)

BASELINES = tuple(
    WholeRequestBatching(max_batch, delay_ms / 1000) for max_batch in (4, 8, 16) for delay_ms in (0, 20, 50)
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Traffic on a machine, and the policies to compare on it.

    Attributes:
        name: on the command line.
        traffic: what arrives.
        step_times: seconds of a step of n slots.
        policies: by name.
        baselines: ways of whole-request batching; results are relative to the best of them.
        seeds: a run each; the spread over them is reported. The policy was tuned on 0 to 2, so
            these are others.
    """

    name: str
    traffic: Traffic
    step_times: StepTimes
    policies: dict[str, Policy] = field(default_factory=dict)
    baselines: tuple[WholeRequestBatching, ...] = BASELINES
    seeds: tuple[int, ...] = (3, 4, 5, 6, 7, 8)


def _policies(step_times: StepTimes) -> dict[str, Policy]:
    return {"plain": PLAIN, "default": choose_policy(step_times)}


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("h100-equal", EQUAL, H100, _policies(H100)),
        Scenario("h100-mixed", MIXED, H100, _policies(H100)),
        Scenario("cpu-mixed", replace(MIXED, count=4000), CPU, _policies(CPU)),
        Scenario("small-equal", replace(EQUAL, count=4000), SMALL, _policies(SMALL)),
        Scenario("small-mixed", replace(MIXED, count=4000), SMALL, _policies(SMALL)),
    )
}
