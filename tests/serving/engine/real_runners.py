"""What runners of real graphs are asked, and how near their answers have to be."""

from __future__ import annotations

import numpy as np

from packshot.family import Family
from packshot_serving.engine import DenoiseRequest, Engine, Runner
from tests.serving.engine.conftest import Requests

#: As a share of the greatest magnitude: padding changes the order of sums, and networks amplify it.
TOLERANCE = 1e-4
#: What requests may differ in and still step together.
_VARIETY = (
    {"num_inference_steps": 5},
    {"num_inference_steps": 3, "scheduler": "euler_ancestral"},
    {"num_inference_steps": 4, "scheduler": "unipc", "guidance_scale": 1.0},
    {"num_inference_steps": 6, "scheduler": "pndm", "guidance_end": 0.5},
    {"num_inference_steps": 4, "control_guidance_start": 0.3, "control_guidance_end": 0.8},
    {"num_inference_steps": 3, "controlnet_conditioning_scale": 0.0},
)


def requests_of_every_kind(family: Family) -> list[DenoiseRequest]:
    """Of two sizes, some without a row for the ControlNets."""
    ask, kinds = Requests(family), enumerate(_VARIETY * 2)
    return [ask(seed, (64, 64) if seed % 3 else (96, 96), **each) for seed, each in kinds]


def answers(runner: Runner, family: Family, requests, new_answer) -> list[np.ndarray]:
    """Their latents, up to four stepping together: with more requests, batches change all the time."""
    waiting = [new_answer() for _ in requests]
    with Engine(runner, family, max_slots=4) as engine:
        for request, answer in zip(requests, waiting, strict=True):
            engine.submit(request, answer)
        return [answer.latents() for answer in waiting]


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
