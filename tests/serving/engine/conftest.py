"""A small family, requests of it, and a runner whose UNet is a linear function."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from packshot.family import Canvas, Family
from packshot.parameters import Parameters
from packshot_serving.engine import DenoiseRequest, Observer, Runner, StepBatch, StepReport, make_schedule
from packshot_serving.engine.device import CudaDevice, HostDevice
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.slot import Slot, controlnet_scales, initial_state

TIMEOUT_S = 20.0  # for what must happen; reached only when a test fails


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cpu":
        return HostDevice()
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("needs a GPU: this onnxruntime has no CUDAExecutionProvider")
    return CudaDevice()


@pytest.fixture
def family() -> Family:
    return Family(
        name="fake",
        precision="fp32",
        dims={"C": 4, "T": 5, "D": 6, "K": 2, "G": 3, "S": 64, "s": 4, "E": 8, "4s": 16},
        canvas=Canvas(multiple=8, min_side=16, max_side=128),
        scheduler={
            "_class_name": "PNDMScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
        },
    )


def unet(
    latents: np.ndarray, timestep: float, text: np.ndarray, mask: np.ndarray, picture: np.ndarray, control
) -> np.ndarray:
    """The fake UNet on one row: linear, and every input matters."""
    return (
        0.3 * latents + 1e-4 * timestep + 0.1 * text.mean() + 0.05 * mask + 0.07 * picture + 0.01 * control
    ).astype(np.float32)


class FakeRunner:
    """Computes the step graph of the contract around :func:`unet`.

    Attributes:
        batches: every batch that was asked for, in order.
        poison: called with each batch before it is computed; may raise.
        spoil: called with each batch and its result, which it may change.
    """

    def __init__(self, num_channels: int = 3) -> None:
        self.num_channels = num_channels
        self.batches: list[StepBatch] = []
        self.poison: Callable[[StepBatch], None] = lambda batch: None
        self.spoil: Callable[[StepBatch, np.ndarray], None] = lambda batch, next_state: None

    def embed_control(self, control_image: np.ndarray) -> np.ndarray:
        small = control_image[:, None, ::8, ::8].astype(np.float32) / 255
        return np.repeat(small, self.num_channels, axis=1)

    def step(self, batch: StepBatch) -> np.ndarray:
        self.batches.append(batch)
        self.poison(batch)
        scaled = batch.state[:, 0] * batch.input_scale[:, None, None, None]
        control = self._control_of_rows(batch)
        rows = np.stack(
            [
                unet(
                    scaled[slot],
                    batch.timesteps[slot],
                    text,
                    batch.mask_latents[slot],
                    batch.masked_image_latents[slot],
                    control[row],
                )
                for row, (slot, text) in enumerate(
                    zip(batch.row_slot, batch.encoder_hidden_states, strict=True)
                )
            ]
        )
        conditional, unconditional = rows[batch.cond_row], rows[batch.uncond_row]
        weight = batch.guidance_scale[:, None, None, None]
        guided = unconditional + weight * (conditional - unconditional)
        next_state = (
            np.einsum("bij,bjchw->bichw", batch.transition, batch.state)
            + batch.gain[:, :, None, None, None] * guided[:, None]
        ).astype(np.float32)
        self.spoil(batch, next_state)
        return next_state

    def _control_of_rows(self, batch: StepBatch) -> np.ndarray:
        slot = batch.row_slot[batch.control_row]
        scale, embedding = batch.controlnet_conditioning_scale[slot], batch.control_embedding[slot]
        residuals = np.einsum("pk,pkghw->phw", scale, embedding)
        none = np.zeros((1, *batch.state.shape[-2:]), np.float32)
        return np.concatenate([none, residuals])[batch.row_residual]


class GatedRunner(FakeRunner):
    """Stands still in every step until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self._entered = threading.Semaphore(0)
        self._allowed = threading.Semaphore(0)
        self._open = False

    def step(self, batch: StepBatch) -> np.ndarray:
        self._entered.release()
        if not self._open:
            assert self._allowed.acquire(timeout=TIMEOUT_S), "the test forgot this step"
        return super().step(batch)

    def await_step(self) -> None:
        """Return once the engine stands in a step that has not been waited for."""
        assert self._entered.acquire(timeout=TIMEOUT_S), "the engine takes no step"

    def allow(self) -> None:
        """Let one step go on."""
        self._allowed.release()

    def open(self) -> None:
        """Let every step go on from now."""
        self._open = True
        self._allowed.release()


class Answer:
    """An ``on_done`` that remembers what it got, and that it was called once."""

    def __init__(self) -> None:
        self.calls = 0
        self._done = threading.Event()
        self._result: np.ndarray | Exception | None = None

    def __call__(self, result: np.ndarray | Exception) -> None:
        self.calls += 1
        self._result = result
        self._done.set()

    @property
    def arrived(self) -> bool:
        return self._done.is_set()

    def latents(self) -> np.ndarray:
        result = self._wait()
        assert isinstance(result, np.ndarray), result
        return result

    def error(self) -> Exception:
        result = self._wait()
        assert isinstance(result, Exception), "latents came instead of an error"
        return result

    def _wait(self) -> np.ndarray | Exception:
        assert self._done.wait(TIMEOUT_S), "no answer"
        assert self._result is not None
        return self._result


class Watcher(Observer):
    """Remembers everything that it is told."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []
        self.waits: list[tuple[float, int]] = []
        self.endings: list[tuple[str, float, int]] = []
        self.standings: list[tuple[int, int]] = []

    def stepped(self, report: StepReport) -> None:
        self.steps.append(report)

    def started(self, wait_s: float, priority: int) -> None:
        self.waits.append((wait_s, priority))

    def stands(self, slots_in_use: int, waiting: int) -> None:
        self.standings.append((slots_in_use, waiting))

    def ended(self, outcome: str, seconds: float, priority: int) -> None:
        self.endings.append((outcome, seconds, priority))


class Requests:
    """Makes requests of a family."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def __call__(
        self, seed: int = 0, size: tuple[int, int] = (32, 24), priority: int = 1, **parameters
    ) -> DenoiseRequest:
        """A request for a canvas of ``size`` (height, width); everything in it follows from the seed."""
        dims, (height, width) = self._family.dims, size
        random = np.random.default_rng(seed)

        def normal(*shape: int) -> np.ndarray:
            return random.standard_normal(shape).astype(np.float32)

        return DenoiseRequest(
            prompt_embeds=normal(dims["T"], dims["D"]),
            negative_prompt_embeds=normal(dims["T"], dims["D"]),
            masked_image_latents=normal(dims["C"], height // 8, width // 8),
            mask_latents=(normal(1, height // 8, width // 8) > 0).astype(np.float32),
            control_image=(random.random((dims["K"], height, width)) > 0.9).astype(np.uint8) * 255,
            seed=seed,
            parameters=Parameters(**parameters),
            request_id=f"request-{seed}",
            priority=priority,
        )

    def alone(self, request: DenoiseRequest) -> np.ndarray:
        """The reference: the plain denoising loop of this request, without engine and batch."""
        parameters, dims = request.parameters, self._family.dims
        schedule = make_schedule(
            parameters.scheduler,
            self._family.scheduler,
            parameters.num_inference_steps,
            strength=parameters.strength,
        )
        scales = controlnet_scales(parameters, schedule.num_steps, dims["K"])
        embedding = FakeRunner().embed_control(request.control_image)
        state = initial_state(request, self._family, schedule)

        def predict(text: np.ndarray, latents: np.ndarray, time: float, control: np.ndarray) -> np.ndarray:
            return unet(latents, time, text, request.mask_latents, request.masked_image_latents, control)

        for step in range(schedule.num_steps):
            control = np.einsum("k,kghw->hw", scales[step], embedding)
            row = (state[0] * schedule.input_scale[step], schedule.timesteps[step], control)
            output = predict(request.prompt_embeds, *row)
            if parameters.guidance_scale > 1 and (step + 1) / schedule.num_steps <= parameters.guidance_end:
                other = predict(request.negative_prompt_embeds, *row)
                output = other + np.float32(parameters.guidance_scale) * (output - other)
            transition, gain = schedule.transition[step], schedule.gain[step]
            state = np.tensordot(transition, state, 1) + gain[:, None, None, None] * output
        return state[0]


@pytest.fixture
def make_request(family: Family) -> Requests:
    return Requests(family)


@pytest.fixture
def ask(real: Family):
    """Makes requests of the family of a test module's real graphs, with square canvases."""
    requests = Requests(real)
    return lambda seed, side=64, **parameters: requests(seed, (side, side), **parameters)


@pytest.fixture
def begin(real: Family):
    """Gives a request a slot on a runner of these graphs."""

    def slot(runner: Runner, request: DenoiseRequest) -> Slot:
        preparation = Preparation(runner, real)
        return preparation.begin(request, preparation.check(request))

    return slot


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def gated():
    runner = GatedRunner()
    yield runner
    runner.open()


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def new_answer() -> type[Answer]:
    return Answer
