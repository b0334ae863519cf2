"""Step-level continuous batching of the denoising loop.

The unit of work is one denoising step of a batch of rows, not a request: see :class:`Engine`.
Nothing here knows Triton; an adapter hands requests over and answers when they are done.
"""

from packshot_serving.engine.engine import Engine
from packshot_serving.engine.noise import initial_noise
from packshot_serving.engine.observer import Observer, StepReport
from packshot_serving.engine.policy import Policy
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import Runner, StepBatch
from packshot_serving.engine.schedulers import STATE_SIZE, Schedule, make_schedule
from packshot_serving.engine.ticket import Progress, Ticket

__all__ = [
    "STATE_SIZE",
    "DenoiseRequest",
    "Engine",
    "Observer",
    "Policy",
    "Progress",
    "Runner",
    "Schedule",
    "StepBatch",
    "StepReport",
    "Ticket",
    "initial_noise",
    "make_schedule",
]
