"""The generated Triton side of a repository."""

from __future__ import annotations

import dataclasses

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from packshot.contract import ENSEMBLES, MODELS
from packshot.errors import RepositoryError
from packshot.family import Canvas, Family
from packshot_serving.repository import (
    Deployment,
    Plans,
    config_files,
    lay_out,
    model_config,
    write_configs,
)

DIMS = {"C": 4, "T": 77, "D": 1024, "K": 1, "G": 320, "S": 1024, "s": 64, "E": 256, "4s": 256}
FAMILY = Family("sd2", "fp32", DIMS, Canvas(), {"prediction_type": "epsilon"})

PLANS = Plans("tensorrt", ("sm_90",), dict.fromkeys(MODELS, 2))

#: Fields that tritonserver 2.51, the oldest we load on, does not know.
NEWER_THAN_2_51 = ("max_inflight_requests", "model_metrics")


@pytest.fixture(params=MODELS.values(), ids=lambda model: model.name)
def model(request):
    return request.param


def test_every_model_has_a_config_that_the_newest_schema_parses(model, tmp_path):
    write_configs(FAMILY, tmp_path)
    text = (tmp_path / model.name / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.name == model.name
    # What an ensemble's check sees it names itself if it is missing.
    checked = {
        tensor.name for step in ENSEMBLES.get(model.name, ())[:1] for tensor in MODELS[step.model].inputs
    }
    assert {tensor.name: tensor.optional for tensor in config.input} == {
        tensor.name: tensor.optional or tensor.name in checked for tensor in model.inputs
    }
    assert [tuple(tensor.dims) for tensor in config.output] == [t.bind(DIMS) for t in model.outputs]
    assert not any(field in text for field in NEWER_THAN_2_51)


def test_the_family_binds_the_prompt_width():
    wide = model_config(MODELS["text_encoder"], FAMILY)
    narrow = model_config(MODELS["text_encoder"], dataclasses.replace(FAMILY, dims={**DIMS, "D": 768}))
    assert list(wide.output[0].dims) == [77, 1024]
    assert list(narrow.output[0].dims) == [77, 768]


def test_canvas_sizes_stay_free():
    assert list(model_config(MODELS["generate"], FAMILY).output[0].dims) == [-1, -1, 3]


def test_the_family_survives_the_journey_through_a_config():
    config = model_config(MODELS["denoiser"], FAMILY)
    assert Family.from_json(config.parameters["family"].string_value) == FAMILY


def test_on_a_gpu_are_the_models_that_hold_weights():
    kinds = {
        name: {group.kind for group in model_config(model, FAMILY, Deployment(device="cuda")).instance_group}
        for name, model in MODELS.items()
    }
    gpu = {model_config_pb2.ModelInstanceGroup.KIND_GPU}
    assert [name for name in kinds if kinds[name] == gpu] == [
        "sam_encoder", "sam_decoder", "text_encoder", "vae_encoder", "denoiser", "vae_decoder",
    ]  # fmt: skip


def test_graphs_compute_precisely_on_a_gpu_and_plans_need_no_such_word():
    for deployment, precise in ((Deployment(), True), (Deployment(plans=PLANS), False)):
        for model in MODELS.values():
            options = {
                accelerator.name: dict(accelerator.parameters)
                for accelerator in model_config(
                    model, FAMILY, deployment
                ).optimization.execution_accelerators.gpu_execution_accelerator
            }
            wanted = {"cuda": {"use_tf32": "0"}} if precise and model.kind == "onnxruntime" else {}
            assert options == wanted, model.name


def test_a_repository_laid_out_for_a_gpu_keeps_what_its_operator_changed(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    write_configs(FAMILY, source)
    (source / "vae_decoder/1").mkdir()
    (source / "vae_decoder/1/model.onnx").write_bytes(b"weights")
    config = source / "vae_decoder/config.pbtxt"
    before = config.read_text().replace("count: 1", "count: 3")
    config.write_text(before)
    lay_out(source, target, "cuda")
    for name, model in MODELS.items():
        ours = text_format.Parse((target / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        wanted = model_config(model, FAMILY, Deployment(device="cuda"))
        if name == "vae_decoder":
            wanted.instance_group[0].count = 3
        assert ours == wanted
    assert (target / "vae_decoder/1/model.onnx").read_bytes() == b"weights"
    assert (target / "denoiser/1/model.py").is_file()
    assert config.read_text() == before


def test_a_repository_with_plans_is_laid_out_with_its_graphs(tmp_path):
    """For a CPU, and for a server without Triton's backend for plans."""
    write_configs(FAMILY, tmp_path / "source", Deployment("abc", plans=PLANS))
    for target, device in (("cpu", "cpu"), ("cuda", "cuda"), ("as configured", None)):
        lay_out(tmp_path / "source", tmp_path / target, device, graphs=True)
        for name, model in MODELS.items():
            text = (tmp_path / target / name / "config.pbtxt").read_text()
            ours = text_format.Parse(text, model_config_pb2.ModelConfig())
            assert ours == model_config(model, FAMILY, Deployment("abc", device=device or "cuda"))


@pytest.mark.parametrize(("model", "on_gpu"), [("denoiser", [0]), ("vae_decoder", [0]), ("tokenizer", [])])
def test_what_has_weights_is_on_one_gpu_and_on_none_of_a_cpu(model, on_gpu, tmp_path):
    write_configs(FAMILY, tmp_path / "source")
    lay_out(tmp_path / "source", tmp_path / "gpu", "cuda")
    lay_out(tmp_path / "gpu", tmp_path / "cpu", "cpu")
    for target, gpus in (("gpu", on_gpu), ("cpu", [])):
        text = (tmp_path / target / model / "config.pbtxt").read_text()
        (group,) = text_format.Parse(text, model_config_pb2.ModelConfig()).instance_group
        assert list(group.gpus) == gpus


def test_a_repository_is_laid_out_in_bfloat16_and_what_else_its_configs_say_stays(tmp_path):
    write_configs(FAMILY, tmp_path / "source", Deployment("abc", device="cuda"))
    lay_out(tmp_path / "source", tmp_path / "target", None, bf16=True)
    for name in MODELS:
        before, after = (
            text_format.Parse(
                (tmp_path / side / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
            )
            for side in ("source", "target")
        )
        if name == "denoiser":
            before.parameters["bf16"].string_value = "true"
        if name == "generate":
            before.parameters["artifacts"].string_value = "abc-bf16"
        assert before == after


def test_a_repository_without_a_config_is_not_laid_out(tmp_path):
    write_configs(FAMILY, tmp_path / "source")
    (tmp_path / "source/segment/config.pbtxt").write_text("name: 5")
    with pytest.raises(RepositoryError, match=r"segment/config.pbtxt: .*; expected a model's config"):
        lay_out(tmp_path / "source", tmp_path / "target", "cpu")


def test_python_models_get_an_adapter_and_ensembles_a_version_directory():
    files = config_files(FAMILY)
    for model in MODELS.values():
        assert (f"{model.name}/1/model.py" in files) == (model.kind == "python")
        assert (f"{model.name}/1/.keep" in files) == (model.kind == "ensemble")


@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensembles_connect(name):
    """Every tensor a step reads was given or made, has one maker, and every output is made."""
    ensemble = MODELS[name]
    made = {tensor.name: tensor for tensor in ensemble.inputs}
    for step in ENSEMBLES[name]:
        model = MODELS[step.model]
        assert set(step.inputs) == {tensor.name for tensor in model.inputs}
        for tensor in model.inputs:
            source = made[step.inputs[tensor.name]]
            assert (source.dtype, source.dims) == (tensor.dtype, tensor.dims)
            assert tensor.optional or not source.optional
        for tensor in model.outputs:
            if tensor.name in step.outputs:
                assert step.outputs[tensor.name] not in made
                made[step.outputs[tensor.name]] = tensor
    for tensor in ensemble.outputs:
        assert (made[tensor.name].dtype, made[tensor.name].dims) == (tensor.dtype, tensor.dims)


def test_nothing_works_before_the_request_was_checked():
    """Triton starts a step when its inputs are there: only the check may start from the caller's alone."""
    for name, steps in ENSEMBLES.items():
        given = {tensor.name for tensor in MODELS[name].inputs}
        starters = [step.model for step in steps if set(step.inputs.values()) <= given]
        assert starters == [steps[0].model]
        assert starters[0].startswith("check_")
