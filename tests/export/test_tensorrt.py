"""A real TensorRT compiler takes every graph, without a GPU; the plans hold the contract's limits."""

from __future__ import annotations

import ctypes
import platform
import shutil
import struct
import sys
from dataclasses import replace
from types import SimpleNamespace

import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from packshot.contract import ARTIFACTS, GRAPHS, MODELS, plan_file
from packshot.errors import ExportError, InvalidArgument
from packshot.family import Manifest
from packshot_export import export
from packshot_export.plans import PlanBuilder, PlanSettings
from packshot_export.profiles import Profile, profiles
from tests.families import exported

GPU = "sm_89"
LINUX_X86 = platform.system() == "Linux" and platform.machine() == "x86_64"
if not LINUX_X86:
    pytest.skip("tensorrt-rtx-cu13 is for Linux on x86-64", allow_module_level=True)
import tensorrt_rtx  # noqa: E402


@pytest.fixture(scope="module")
def repository():
    """The shallow family's repository in fp16."""
    return exported("shallow", "fp16")[1]


@pytest.fixture(scope="module")
def family(repository):
    """The family on canvases to 512×512: one bucket compiles in a third of the time of three."""
    found = Manifest.read(repository).family
    return replace(found, canvas=replace(found.canvas, max_side=512))


@pytest.fixture(scope="module")
def builder():
    return PlanBuilder(PlanSettings((GPU,)), "tensorrt_rtx")


@pytest.fixture(scope="module", params=GRAPHS)
def compiled(request, repository, family, builder):
    """Each graph of the repository: its name, its profiles and its plan."""
    name = request.param
    wanted = profiles(GRAPHS[name], family)
    return name, wanted, builder.build(name, repository / ARTIFACTS[name], wanted, GPU)


def dims(shape):
    """Sizes as a plan has them: 64-bit integers in a row."""
    return struct.pack(f"<{len(shape)}q", *shape)


def test_tensorrt_compiles_every_graph_to_a_plan_with_the_contracts_limits(compiled):
    """Read from the plan's bytes: TensorRT opens no plan without a GPU, not even to look at it."""
    _, wanted, plan = compiled
    for profile in wanted:
        for tensor, shapes in profile.shapes.items():
            for shape in shapes:
                assert dims(shape) in plan, (tensor, shape)
            beyond = (*shapes[2][:-1], shapes[2][-1] + 1)
            if len(beyond) > 2:  # a short row of numbers may be there by chance
                assert dims(beyond) not in plan, (tensor, beyond)


def has_cuda_driver() -> bool:
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


@pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA driver: TensorRT cannot open a plan to inspect it")
def test_the_engines_own_inspector_says_the_same(repository, family):
    builder = PlanBuilder(PlanSettings(), "tensorrt_rtx")
    runtime = tensorrt_rtx.Runtime(tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR))
    for name, graph in GRAPHS.items():
        wanted = profiles(graph, family)
        plan = builder.build(name, repository / ARTIFACTS[name], wanted, builder.gpus[0])
        engine = runtime.deserialize_cuda_engine(plan)
        assert engine.num_optimization_profiles == len(wanted)
        for number, profile in enumerate(wanted):
            for tensor, shapes in profile.shapes.items():
                assert tuple(map(tuple, engine.get_tensor_profile_shape(tensor, number))) == shapes


def test_a_graph_that_tensorrt_does_not_take_is_an_error_that_says_why(builder, tmp_path):
    """Bytes are inputs and outputs only: this is why the graphs cast first and last."""
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    tensors = [helper.make_tensor_value_info(name, TensorProto.UINT8, [2, 2]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "bytes", tensors[:1], tensors[1:]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "bytes.onnx")
    with pytest.raises(ExportError, match=r"bytes: tensorrt_rtx does not take .*bytes\.onnx: .*UInt8"):
        builder.build("bytes", tmp_path / "bytes.onnx", [Profile({})], GPU)


@pytest.mark.parametrize("content", [b"not a graph", None])
def test_a_file_that_is_no_graph_is_an_error_that_names_it(builder, tmp_path, content):
    path = tmp_path / "step.onnx"
    if content:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=r"step: tensorrt_rtx does not take .*step\.onnx: "):
        builder.build("step", path, [Profile({})], GPU)


def test_an_operator_that_tensorrt_does_not_know_is_compiled_by_its_definition(
    builder, repository, family, tmp_path
):
    """TensorRT-RTX knows ours; ``tensorrt`` of some versions may not."""
    model = onnx.load(repository / ARTIFACTS["vae_encoder"])
    renamed = [node for node in model.graph.node if node.op_type == "MultiHeadAttention"]
    assert renamed
    for node in renamed:
        node.op_type = "Unheard"
    (definition,) = model.functions
    definition.name = "Unheard"
    onnx.save(model, tmp_path / "vae_encoder.onnx")
    wanted = profiles(GRAPHS["vae_encoder"], family)
    assert builder.build("vae_encoder", tmp_path / "vae_encoder.onnx", wanted, GPU)
    del model.functions[:]
    onnx.save(model, tmp_path / "vae_encoder.onnx")
    with pytest.raises(ExportError, match="Unheard"):
        builder.build("vae_encoder", tmp_path / "vae_encoder.onnx", wanted, GPU)


def test_limits_that_contradict_a_graph_are_an_error(builder, repository, family):
    (fine,) = profiles(GRAPHS["text_encoder"], family)
    longer = Profile({"input_ids": ((1, 78), (1, 78), (2, 78))})
    assert fine.shapes["input_ids"][0] == (1, 77)
    with pytest.raises(
        ExportError, match=r"text_encoder: tensorrt_rtx cannot compile the graph: .*input_ids"
    ):
        builder.build("text_encoder", repository / ARTIFACTS["text_encoder"], [longer], GPU)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            PlanSettings(("sm_90",)),
            "gpu: got sm_90, expected one of .*sm_89.*: tensorrt_rtx builds for these",
        ),
        (PlanSettings((GPU,), version_compatible=True), "version_compatible: got True, expected none"),
    ],
)
def test_what_tensorrt_rtx_cannot_do_is_refused_before_any_work(settings, message):
    with pytest.raises(InvalidArgument, match=message):
        PlanBuilder(settings, "tensorrt_rtx")


def test_without_a_gpu_to_ask_the_gpu_has_to_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match="gpu: found none on this machine, expected one, or --gpu"):
        PlanBuilder(PlanSettings(), "tensorrt_rtx")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 12.0\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert PlanBuilder(PlanSettings(), "tensorrt_rtx").gpus == ("sm_120",)


def test_of_unlike_gpus_one_has_to_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 8.0\necho 9.0\necho 8.0\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    with pytest.raises(ExportError, match="gpu: found sm_80, sm_90 on this machine, expected one kind"):
        PlanBuilder(PlanSettings(), "tensorrt_rtx")


def test_without_tensorrt_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("packshot_export.plans.PLAN_ENDINGS", {"tensorrt_missing": "plan"})
    with pytest.raises(ExportError, match=r"got neither .* pip install 'packshot\[tensorrt\]'"):
        PlanBuilder(PlanSettings((GPU,)))


@pytest.fixture
def copied(monkeypatch, repository):
    """Exports that copy graphs instead of tracing them, and write a plan's settings instead of a plan."""

    def export_component(component, directory, parts):
        target = directory / ARTIFACTS[component.graph.name]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / ARTIFACTS[component.graph.name], target)

    def build(self, name, graph, wanted, gpu):
        return f"{graph.name} {gpu} {len(wanted)}".encode()

    graphs = [SimpleNamespace(graph=graph) for graph in GRAPHS.values()]
    monkeypatch.setattr(export, "components", lambda parts: iter(graphs))
    monkeypatch.setattr(export, "export_component", export_component)
    monkeypatch.setattr(PlanBuilder, "build", build)


def export_with_plans(checkpoints, repository, settings, events=None):
    return export.export_repository(
        checkpoints / "diffusion", [checkpoints / "controlnet"], checkpoints / "sam", repository,
        progress=(events if events is not None else []).append, tensorrt=settings,
    )  # fmt: skip


def config(repository, name):
    text = (repository / name / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_plans_of_tensorrt_rtx_are_recorded_and_triton_loads_the_graphs(copied, checkpoints, tmp_path):
    events = []
    settings = PlanSettings((GPU, "sm_120"))
    manifest = export_with_plans(checkpoints, tmp_path / "repository", settings, events)
    files = {plan_file(name, gpu, "tensorrt_rtx") for gpu in settings.gpus for name in GRAPHS}
    assert "vae_decoder/1/model.sm120.rtx.plan" in files
    assert files < set(manifest.artifacts)
    manifest.verify(tmp_path / "repository")
    assert manifest.exporters["tensorrt_rtx"]
    assert {event.file for event in events if isinstance(event, export.Planned)} == files
    found = config(tmp_path / "repository", "vae_decoder")
    assert (found.backend, found.default_model_filename) == ("onnxruntime", "model.onnx")
    denoiser = config(tmp_path / "repository", "denoiser")
    assert denoiser.parameters["plans"].string_value == "tensorrt_rtx"
    assert denoiser.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


@pytest.fixture
def as_tensorrt(monkeypatch, tmp_path):
    """``tensorrt_rtx`` in the place of ``tensorrt``, which no package index has, on a machine with an sm_90."""
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_rtx)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 9.0\n")
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_tritons_tensorrt_backend_gets_the_plan_of_its_gpu(as_tensorrt, copied, checkpoints, tmp_path):
    repository = tmp_path / "repository"
    manifest = export_with_plans(checkpoints, repository, PlanSettings())
    assert manifest.exporters["tensorrt"]
    for model in MODELS.values():
        found = config(repository, model.name)
        if model.kind != "onnxruntime":
            assert found.backend in ("python", ""), model.name
            continue
        assert found.backend == "tensorrt"
        assert dict(found.cc_model_filenames) == {"9.0": "model.sm90.plan"}
        plan = (repository / model.name / "1" / found.default_model_filename).read_text()
        assert plan == f"model.onnx sm_90 {len(found.instance_group[0].profile)}"
        assert found.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
        assert found.max_batch_size == model.max_batch_size
    assert (repository / plan_file("step", "sm_90", "tensorrt")).exists()
    denoiser = config(repository, "denoiser")
    assert denoiser.parameters["plans"].string_value == "tensorrt"
    assert denoiser.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


def test_tensorrt_builds_for_its_own_gpu_only(as_tensorrt):
    with pytest.raises(InvalidArgument, match="gpu: got sm_89, expected sm_90: tensorrt builds for its own"):
        PlanBuilder(PlanSettings((GPU,)))


# tensorrt_rtx says that its timing caches are empty; they can be read and written all the same.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorrt_reads_and_writes_a_timing_cache(as_tensorrt, monkeypatch, repository, family, tmp_path):
    class AheadOfTime(tensorrt_rtx.Builder):
        """Stands in for a GPU."""

        def create_builder_config(self):
            made = super().create_builder_config()
            made.num_compute_capabilities = 1
            made.set_compute_capability(tensorrt_rtx.ComputeCapability.SM89, 0)
            return made

    monkeypatch.setattr(tensorrt_rtx, "Builder", AheadOfTime)
    cache = tmp_path / "timings"
    name = "control_embedding"
    for _ in range(2):  # from nothing, and from the first one's
        builder = PlanBuilder(PlanSettings(timing_cache=cache))
        assert builder.build(name, repository / ARTIFACTS[name], profiles(GRAPHS[name], family), "sm_90")
        assert cache.stat().st_size > 0
