"""A crowd on a real server: everybody is answered as if alone, refused at once, or let go at the end."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from packshot.parameters import SCHEDULERS, Parameters
from packshot_serving.launcher import TritonServer
from packshot_serving.own_server import ticket_prefix
from tests.families import exported
from tests.integration.conftest import Served
from tests.integration.generations import arrays, make_generation
from tests.integration.metrics import figures
from tests.integration.processes import descendants, resident_bytes
from tests.waiting import until

SIZES = [(64, 64), (96, 64), (72, 104)]
UNAVAILABLE = "StatusCode.UNAVAILABLE"


def answer(served: Served, model: str, request: dict[str, np.ndarray]) -> np.ndarray | str | None:
    """The picture or the latents, or the status of the refusal."""
    try:
        return next(iter(served.triton.infer(model, request).values()))
    except InferenceServerException as error:
        return error.status()


def random_request(random: np.random.Generator, seed: int) -> dict[str, np.ndarray]:
    how = Parameters(
        num_inference_steps=int(random.integers(1, 16)),
        guidance_scale=float(random.choice([1.0, 3.0, 7.5])),
        controlnet_conditioning_scale=float(random.choice([0.0, 0.5, 1.0])),
        control_guidance_end=float(random.choice([0.5, 1.0])),
        scheduler=str(random.choice(SCHEDULERS)),
        guidance_end=float(random.choice([0.6, 1.0])),
    )
    return arrays(make_generation(how, *SIZES[int(random.integers(len(SIZES)))], seed=seed))


def test_fifty_random_requests_in_a_crowd_equal_themselves_alone(tiny):
    random = np.random.default_rng(7)
    requests = [random_request(random, seed) for seed in range(50)]
    alone = [tiny.triton.infer("generate", request)["generated_image"] for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        crowd = list(pool.map(lambda request: tiny.triton.infer("generate", request), requests))
    for one, other in zip(alone, crowd, strict=True):
        assert np.abs(one.astype(int) - other["generated_image"]).max() <= 1


def test_fifty_random_latents_in_a_crowd_equal_themselves_alone(tiny):
    random = np.random.default_rng(8)
    requests = [denoise_request(tiny, random_request(random, seed), seed) for seed in range(50)]
    alone = [tiny.triton.infer("denoiser", request)["latents"] for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        crowd = list(pool.map(lambda request: tiny.triton.infer("denoiser", request), requests))
    for one, other in zip(alone, crowd, strict=True):
        assert np.abs(one - other["latents"]).max() <= 1e-4 * np.abs(one).max()


def denoise_request(tiny, request: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The same request for the denoiser alone, with made-up embeddings."""
    random, dims = np.random.default_rng(seed), tiny.family.dims
    channels, height, width = request["latents"].shape

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    kept = {"prompt", "negative_prompt", "image", "mask_image"}
    return {
        **{name: array for name, array in request.items() if name not in kept},
        "prompt_embeds": normal(dims["T"], dims["D"]),
        "negative_prompt_embeds": normal(dims["T"], dims["D"]),
        "masked_image_latents": normal(channels, height, width),
        "mask_latents": (normal(1, height, width) > 0).astype(np.float32),
    }


def test_two_hundred_callers_get_their_picture_or_are_refused_and_memory_stays():
    """The second crowd of 200 must not make the server larger than the first one did."""
    checkpoints, repository = exported("tiny-sd2")
    request = arrays(make_generation(Parameters(8), 128, 96))
    with TritonServer(repository, drain=False) as server:
        served = Served("tiny-sd2", checkpoints, server)
        alone = served.triton.infer("generate", request)["generated_image"]
        sizes = []
        for _ in range(3):
            with ThreadPoolExecutor(200) as pool:
                answers = list(pool.map(lambda _: answer(served, "generate", request), range(200)))
            pictures = [each for each in answers if isinstance(each, np.ndarray)]
            assert len(answers) == 200
            assert {each for each in answers if isinstance(each, str)} <= {UNAVAILABLE}
            assert len(pictures) >= 64
            assert all(np.abs(picture.astype(int) - alone).max() <= 1 for picture in pictures)
            sizes.append(sum(map(resident_bytes, descendants(server.pid))))
    assert sizes[2] < 1.1 * sizes[1], sizes


def test_a_full_denoiser_refuses_at_once(tiny):
    """Not after a time limit, nor after those before have been served."""
    long, short = (
        denoise_request(tiny, arrays(make_generation(Parameters(count), 128, 128)), 0) for count in (60, 2)
    )
    ended: list[str] = []

    def call(request: dict[str, np.ndarray]) -> None:
        try:
            tiny.triton.infer("denoiser", request)
            ended.append("served")
        except InferenceServerException as error:
            ended.append(f"{error.status()}: {error.message()}")

    with ThreadPoolExecutor(80) as pool:
        begun = [pool.submit(call, long) for _ in range(4)]
        until(lambda: figures(tiny)["packshot_denoiser_slots_in_use"] == 4)
        list(pool.map(call, [short] * 76))
        for each in begun:
            each.result()
    refused = 80 - 64 - 4
    assert ended.count("served") == 80 - refused
    assert set(ended[:refused]) == {f"{UNAVAILABLE}: the denoiser's queue is full: 64 requests are waiting"}


def test_who_may_wait_no_longer_is_let_go_through_the_ensemble(tiny):
    """KServe's own request parameter, in microseconds; whoever has a slot by then is served."""
    request = arrays(make_generation(Parameters(40), 192, 192))

    def call(_: int) -> str:
        try:
            tiny.triton.infer("generate", request, timeout=300_000)
        except InferenceServerException as error:
            return f"{error.status()}: {error.message()}"
        return "served"

    with ThreadPoolExecutor(16) as pool:
        ended = list(pool.map(call, range(16)))
    late = f"{UNAVAILABLE}: in ensemble 'generate', the request got no slot within 0.3 s"
    assert set(ended) == {"served", late}


def test_the_config_can_say_how_long_to_wait(tmp_path):
    checkpoints, repository = exported("tiny-sd2")
    copy = shutil.copytree(repository, tmp_path / "repository")
    config = copy / "denoiser" / "config.pbtxt"
    config.write_text(re.sub(r'(default_timeout_microseconds"[^"]*")0"', r'\g<1>300000"', config.read_text()))
    request = arrays(make_generation(Parameters(40), 192, 192))
    with TritonServer(copy, drain=False) as server, ThreadPoolExecutor(16) as pool:
        served = Served("tiny-sd2", checkpoints, server)
        ended = list(pool.map(lambda _: answer(served, "generate", request), range(16)))
    assert {each for each in ended if isinstance(each, str)} == {UNAVAILABLE}


def test_shorter_requests_do_not_wait_for_longer_ones(tiny):
    ended: list[int] = []

    def call(num_steps: int) -> None:
        tiny.triton.infer("generate", arrays(make_generation(Parameters(num_steps), 192, 192)))
        ended.append(num_steps)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(call, [100, 50, 15]))
    assert ended == [15, 50, 100]


def test_stopping_under_load_serves_what_has_begun_and_leaves_nothing():
    checkpoints, repository = exported("tiny-sd2")
    request = arrays(make_generation(Parameters(30), 192, 192))
    with TritonServer(repository) as server, ThreadPoolExecutor(30) as pool:
        served = Served("tiny-sd2", checkpoints, server)
        denoise = denoise_request(served, request, 0)
        alone = served.triton.infer("generate", request)["generated_image"]
        latents = served.triton.infer("denoiser", denoise)["latents"]
        processes = descendants(server.pid)
        first = pool.submit(answer, served, "denoiser", denoise)
        denoising = [pool.submit(answer, served, "denoiser", denoise) for _ in range(8)]
        generating = [pool.submit(answer, served, "generate", request) for _ in range(20)]
        first.result()
        server.stop()
        answers = [call.result() for call in denoising]
        pictures = [call.result() for call in generating]
    served_ones = [each for each in answers + pictures if isinstance(each, np.ndarray)]
    assert len(served_ones) >= 4, "those with a slot are served"
    for each, alone in [(each, latents) for each in answers] + [(each, alone) for each in pictures]:
        if isinstance(each, np.ndarray):
            assert np.abs(each.astype(float) - alone).max() <= 1
        else:
            assert each == UNAVAILABLE
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    tickets = ticket_prefix(processes[0])
    assert not list(tickets.parent.glob(f"{tickets.name}*"))


def test_what_the_denoiser_lacks_is_named_however_much_else_there_is(tiny):
    request = denoise_request(tiny, arrays(make_generation(Parameters(1))), 0)
    del request["control_image"]
    with pytest.raises(
        InferenceServerException, match=r"denoiser\.control_image: got nothing, expected uint8"
    ):
        tiny.triton.infer("denoiser", request)


def test_pictures_that_are_begun_are_finished_before_a_server_stops():
    checkpoints, repository = exported("tiny-sd2")
    request = arrays(make_generation(Parameters(60), 256, 256))
    with TritonServer(repository) as server, ThreadPoolExecutor(3) as pool:
        served = Served("tiny-sd2", checkpoints, server)
        alone = served.triton.infer("generate", request)["generated_image"]
        begun = [pool.submit(answer, served, "generate", request) for _ in range(3)]
        until(lambda: figures(served)["packshot_denoiser_slots_in_use"] == 3)
        server.stop()
        pictures = [call.result() for call in begun]
    for picture in pictures:
        assert isinstance(picture, np.ndarray), picture
        assert np.abs(picture.astype(int) - alone).max() <= 1


@pytest.fixture(autouse=True)
def idle_afterwards(request):
    """Nobody leaves work behind for the next test."""
    yield
    if "tiny" in request.fixturenames:
        served = request.getfixturevalue("tiny")
        until(lambda: not figures(served)["packshot_denoiser_slots_in_use"])
