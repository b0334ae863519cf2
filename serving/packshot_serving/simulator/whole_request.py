"""Whole-request dynamic batching, as Triton's dynamic batcher does it: what we compare with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from packshot_serving.simulator.served import Served
from packshot_serving.simulator.traffic import Arrival


@dataclass(frozen=True, slots=True)
class WholeRequestBatching:
    """Triton's ``max_batch_size`` and ``max_queue_delay_microseconds``, the delay in seconds."""

    max_batch: int
    delay_s: float


def serve_whole_requests(
    arrivals: Sequence[Arrival], batching: WholeRequestBatching, step_time_s: Callable[[int], float]
) -> list[Served]:
    """Serve every arrival in batches that begin and end together.

    A batch starts when the server is free and either ``max_batch`` requests of one lane wait or
    the oldest has waited for ``delay_s``. It takes as many steps as its longest request.

    Args:
        arrivals: in order of time.
        batching: how batches form.
        step_time_s: seconds of a step of n requests.
    """
    served: list[Served] = []
    lanes: dict[int, deque[Arrival]] = {}
    now, index = 0.0, 0
    while index < len(arrivals) or any(lanes.values()):
        while index < len(arrivals) and arrivals[index].time_s <= now:
            lanes.setdefault(arrivals[index].lane, deque()).append(arrivals[index])
            index += 1
        queue = min((lane for lane in lanes.values() if lane), key=lambda lane: lane[0].time_s, default=None)
        if queue is None:
            now = arrivals[index].time_s
            continue
        if len(queue) < batching.max_batch:
            full = next((lane for lane in lanes.values() if len(lane) >= batching.max_batch), None)
            due = queue[0].time_s + batching.delay_s
            if full is None and now < due:
                following = arrivals[index].time_s if index < len(arrivals) else due
                now = min(due, following)
                continue
            queue = full if now < due and full is not None else queue
        batch = [queue.popleft() for _ in range(min(len(queue), batching.max_batch))]
        ended = now + max(arrival.num_steps for arrival in batch) * step_time_s(len(batch))
        served += [Served(arrival, now, now, ended) for arrival in batch]
        now = ended
    return served
