"""The runner's TensorRT half: on an imitation of TensorRT's API, and on a GPU if there is any."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from packshot.contract import ARTIFACTS, GRAPHS, plan_file
from packshot.errors import InternalError, InvalidArgument, RepositoryError, ServerStartError
from packshot.family import Manifest
from packshot_export.profiles import profiles
from packshot_serving.engine import Engine
from packshot_serving.engine.batch_step import advance
from packshot_serving.engine.bound_runner import BoundStepRunner
from packshot_serving.engine.capacity import measure_step_times
from packshot_serving.engine.device import CudaDevice, HostDevice
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from packshot_serving.engine.tensorrt_program import TensorRtProgram, make_log, tensorrt_programs
from tests.families import exported
from tests.serving.engine import tensorrt_on_host
from tests.serving.engine.real_runners import answers, assert_close, requests_of_every_kind

GPU = "sm_90"


class RecordingDevice(HostDevice):
    """The host, with a count of what it recorded and played back."""

    def __init__(self, fails=False):
        self.recorded = self.played = 0
        self.fails = fails

    def record(self, work):
        if self.fails:
            raise InternalError("cudaStreamBeginCapture: got CUDA error 900")
        self.recorded += 1

        def play():
            self.played += 1
            work()

        return play


@pytest.fixture(scope="module")
def graphs():
    repository = exported("tiny-sd2")[1]
    return (repository / ARTIFACTS["step"]).parent


@pytest.fixture(scope="module")
def real(graphs):
    return Manifest.read(graphs.parent.parent).family


@pytest.fixture
def plans(graphs, real, tmp_path, monkeypatch):
    """A directory with plans of the two graphs, and a module ``tensorrt`` to open them."""
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_on_host)
    for name in ("step", "control_embedding"):
        told = {
            "graph": str(graphs / f"{name}.onnx"),
            "profiles": [dict(profile.shapes) for profile in profiles(GRAPHS[name], real)],
        }
        (tmp_path / plan_file(name, GPU, "tensorrt")).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / plan_file(name, GPU, "tensorrt")).write_text(json.dumps(told))
    return tmp_path / "denoiser" / "1"


def on_tensorrt(plans, real, device) -> BoundStepRunner:
    return BoundStepRunner(tensorrt_programs(plans, device, "tensorrt", GPU), real, device)


def test_the_engine_answers_what_it_answers_with_the_plain_runner(graphs, plans, real, new_answer):
    requests = requests_of_every_kind(real)
    runners = on_tensorrt(plans, real, RecordingDevice()), OnnxStepRunner(graphs, 1)
    found, wanted = (answers(runner, real, requests, new_answer) for runner in runners)
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs)


def test_a_size_is_recorded_after_its_first_step_and_then_played_back(plans, real, ask, begin):
    device = RecordingDevice()
    runner = on_tensorrt(plans, real, device)
    slots = [begin(runner, ask(seed)) for seed in range(2)]
    assert not device.recorded, "a control image's embedding is not repeated"
    for _ in range(3):
        advance(runner, slots)
    assert (device.recorded, device.played) == (1, 2)
    advance(runner, slots[:1])
    assert (device.recorded, device.played) == (2, 2)


def test_a_tensorrt_that_records_itself_is_asked_to_for_what_is_repeated(
    plans, real, ask, begin, monkeypatch
):
    strategies = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    monkeypatch.setattr(tensorrt_on_host, "CudaGraphStrategy", strategies, raising=False)
    device = RecordingDevice()
    programs = tensorrt_programs(plans, device, "tensorrt", GPU)
    runner = BoundStepRunner(programs, real, device)
    slots = [begin(runner, ask(0))]
    for _ in range(2):
        advance(runner, slots)
    (step,), (control,) = (program._engine.contexts for program in programs or ())
    assert (step.config.cuda_graph_strategy, control.config.cuda_graph_strategy) == ("whole", None)
    advance(runner, [slots[0], begin(runner, ask(1))])
    contexts = programs[0]._engine.contexts
    assert len({context.config.cache for context in contexts}) == 1 < len(contexts), "compiled once"
    assert (device.recorded, step.runs) == (0, 2)


def test_what_cannot_be_recorded_runs_all_the_same(graphs, plans, real, ask, begin, caplog):
    runners = OnnxStepRunner(graphs, 1), on_tensorrt(plans, real, RecordingDevice(fails=True))
    (wanted,), (found,) = ([begin(runner, ask(0))] for runner in runners)
    for _ in range(3):
        advance(runners[0], [wanted])
        assert not advance(runners[1], [found]).outcomes
    assert_close(found.residence.read(), wanted.state)
    assert len([1 for record in caplog.records if "goes on unrecorded" in record.message]) == 1


def test_a_batch_beyond_every_profile_is_taken_in_halves(plans, real, ask, begin):
    step = profiles(GRAPHS["step"], real)
    most = max(profile.shapes["state"][2][0] for profile in step)
    runner = on_tensorrt(plans, real, HostDevice())
    slots = [begin(runner, ask(0))] * (most + 1)
    taken = advance(runner, slots)
    assert not taken.outcomes
    assert taken.largest == (most + 2) // 2


def test_the_first_profile_that_holds_a_batch_computes_it(plans, real, ask, begin):
    programs = tensorrt_programs(plans, HostDevice(), "tensorrt", GPU)
    runner = BoundStepRunner(programs, real, HostDevice())
    slots = [begin(runner, ask(seed)) for seed in range(3)]
    advance(runner, slots[:1])
    advance(runner, slots)
    used = [context._profile for context in programs[0]._engine.contexts]
    assert used == [0, 1], "one slot is the latency profile's, three are the throughput profile's"


def test_runs_that_are_not_repeated_share_a_context(plans, real, ask, begin):
    programs = tensorrt_programs(plans, HostDevice(), "tensorrt", GPU)
    runner = BoundStepRunner(programs, real, HostDevice())
    for seed in range(3):
        begin(runner, ask(seed))
    (context,) = programs[1]._engine.contexts
    assert context.runs == 3


def test_for_another_gpu_there_are_no_plans(plans):
    assert tensorrt_programs(plans, HostDevice(), "tensorrt", "sm_89") is None


def test_a_batch_is_never_larger_than_the_plan_s_profiles_for_its_canvas(plans, real, ask, new_answer):
    """Not even in the measurement at start: nothing has to fail first."""
    runner, rows = on_tensorrt(plans, real, HostDevice()), []
    longest = runner.most_slots((8, 8))
    assert longest == max(profile.shapes["state"][2][0] for profile in profiles(GRAPHS["step"], real))
    assert runner.most_slots((1000, 8)) == 0
    runner._step._limits = [
        {**limits, "mask_latents": (limits["mask_latents"][0], (2, *limits["mask_latents"][1][1:]))}
        for limits in runner._step._limits
    ]
    step = runner.step_resident

    def watched(slots, numbers):
        rows.append(len(slots))
        return step(slots, numbers)

    runner.step_resident = watched
    with Engine(runner, real, max_slots=8) as engine:
        answers = [new_answer() for _ in range(8)]
        for seed, answer in enumerate(answers):
            engine.submit(ask(seed, num_inference_steps=2), answer)
        for answer in answers:
            answer.latents()
    assert max(rows) == 2
    assert measure_step_times(runner, real, side=64, repeats=1).batch_sizes == (1, 2)


def test_what_is_no_plan_is_refused_with_tensorrt_s_reason(plans):
    (plans / "step.sm90.plan").write_bytes(b"\x00")
    with pytest.raises(RepositoryError, match=r"step\.sm90\.plan: .* cannot load it: no plan$"):
        tensorrt_programs(plans, HostDevice(), "tensorrt", GPU)


def test_a_plan_of_another_graph_is_refused(plans):
    path = plans / "control_embedding.sm90.plan"
    with pytest.raises(RepositoryError, match="inputs: got control_image, expected cond_row"):
        TensorRtProgram(path, "step", tensorrt_on_host, make_log(tensorrt_on_host), HostDevice())


def test_a_module_that_is_not_installed_is_named(plans, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ServerStartError, match="plans: got tensorrt, which cannot be imported"):
        tensorrt_programs(plans, HostDevice(), "tensorrt", GPU)


@pytest.mark.parametrize(
    ("imitation", "original"),
    [
        (tensorrt_on_host.Runtime, "Runtime"),
        (tensorrt_on_host.Engine, "ICudaEngine"),
        (tensorrt_on_host.ExecutionContext, "IExecutionContext"),
        (tensorrt_on_host.RuntimeConfig, "IRuntimeConfig"),
        (tensorrt_on_host.ExecutionContextAllocationStrategy, "ExecutionContextAllocationStrategy"),
        (tensorrt_on_host.TensorIOMode, "TensorIOMode"),
    ],
)
def test_the_imitation_has_nothing_that_tensorrt_has_not(imitation, original):
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is for Linux on x86-64")
    public = {name for name in vars(imitation) if not name.startswith("_")}
    assert public
    assert public <= set(dir(getattr(trt, original)))


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs a GPU: this onnxruntime has no CUDAExecutionProvider",
)
def test_on_a_gpu_plans_take_the_steps_that_the_graphs_take(graphs, real, ask, begin, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is for Linux on x86-64")
    from packshot_export.plans import PlanBuilder, PlanSettings

    device = CudaDevice()
    try:
        builder = PlanBuilder(PlanSettings((device.gpu,)), "tensorrt_rtx")
    except InvalidArgument as error:
        pytest.skip(f"tensorrt_rtx has nothing for this GPU: {error}")
    for name in ("step", "control_embedding"):
        wanted = profiles(GRAPHS[name], real)
        plan = builder.build(name, graphs / f"{name}.onnx", wanted, device.gpu)
        (tmp_path / plan_file(name, device.gpu, "tensorrt_rtx").split("/")[-1]).write_bytes(plan)
    programs = tensorrt_programs(tmp_path, device, "tensorrt_rtx", device.gpu)
    runners = OnnxStepRunner(graphs, 1), BoundStepRunner(programs, real, device)
    ours, theirs = ([begin(runner, ask(seed)) for seed in range(3)] for runner in reversed(runners))
    for _ in range(3):
        advance(runners[0], theirs)
        assert not advance(runners[1], ours).outcomes
    for mine, other in zip(ours, theirs, strict=True):
        far = np.abs(mine.residence.read() - other.state).max()
        assert far <= 0.02 * np.abs(other.state).max()
