"""fp16: weights and arithmetic inside, the same inputs and outputs, a looser tolerance."""

from __future__ import annotations

from functools import partial
from queue import SimpleQueue

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from tokenizers import Tokenizer

from packshot.contract import ARTIFACTS, GRAPHS, TOKENIZER_FILE
from packshot.errors import ExportError
from packshot.family import Manifest
from packshot.parameters import Parameters
from packshot_export import headroom, parity
from packshot_export.cases import Case
from packshot_export.components import components
from packshot_export.denoiser_cases import step_cases
from packshot_export.half import half
from packshot_export.vae_cases import vae_decoder_cases
from packshot_serving.engine import DenoiseRequest, Engine
from packshot_serving.engine.onnx_runner import OnnxStepRunner
from tests.export.conftest import parts_of
from tests.export.test_graphs import session
from tests.families import exported
from tests.integration.generations import make_generation
from tests.integration.reference import Reference


@pytest.fixture(scope="module")
def halved():
    """Checkpoints of a shallow SD2-shaped family, and its repository in fp16."""
    return exported("shallow", "fp16")


def loaded(halved, name):
    return onnx.load(halved[1] / ARTIFACTS[name])


@pytest.mark.parametrize("name", GRAPHS)
def test_weights_are_fp16_and_tensors_of_the_contract_are_not(halved, name):
    graph = loaded(halved, name).graph
    numbers = {TensorProto.FLOAT: 0, TensorProto.FLOAT16: 0}
    for weight in graph.initializer:
        if weight.data_type in numbers:
            numbers[weight.data_type] += int(np.prod(weight.dims))
    # The exceptions: the VAE's attention, and what SAM computes positions from.
    assert numbers[TensorProto.FLOAT16] > 3 * numbers[TensorProto.FLOAT]
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type != TensorProto.FLOAT16
    assert len(graph.input) == len(GRAPHS[name].inputs)


@pytest.mark.parametrize("name", ["vae_encoder", "vae_decoder"])
def test_the_vae_normalises_and_attends_in_fp32(halved, name):
    graph = loaded(halved, name).graph
    dtypes = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    for kind in ("InstanceNormalization", "MultiHeadAttention"):
        found = [dtypes[node.output[0]] for node in graph.node if node.op_type == kind]
        assert found, kind
        assert set(found) == {TensorProto.FLOAT}, kind


@pytest.mark.parametrize("name", GRAPHS)
def test_statistics_of_layer_normalisation_are_fp32(halved, name):
    for node in loaded(halved, name).graph.node:
        if node.op_type == "LayerNormalization":
            stash = [attribute.i for attribute in node.attribute if attribute.name == "stash_type"]
            assert stash in ([], [TensorProto.FLOAT])


def test_every_component_is_within_its_tolerance_with_every_layer_rounded(halved):
    """torch rounds to fp16 after every layer, where ONNX Runtime's CPU kernels may go on in fp32."""
    compared = 0
    with torch.no_grad():
        for component in components(parts_of(halved[0])):
            module = half(component.module)
            for case in component.cases():
                inputs = dict(case.inputs)
                if not len(inputs.get("control_row", "x")):
                    inputs["control_row"] = torch.zeros(1, dtype=torch.int64)
                for tensor, found in module(**inputs).items():
                    what = f"{component.graph.name}.{tensor} ({case.label})"
                    parity.compare(what, tensor, case.outputs[tensor].numpy(), found.numpy(), "fp16")
                    compared += 1
    assert compared > len(GRAPHS)


def pictures(repository, generation):
    """Latents and picture of one generation, through the graphs that a server runs."""
    family = Manifest.read(repository).family
    run = {
        name: partial(session(repository / ARTIFACTS[name]).run, None)
        for name in ("text_encoder", "vae_encoder", "vae_decoder")
    }
    tokenizer = Tokenizer.from_file(str(repository / TOKENIZER_FILE))
    texts = (generation.prompt, generation.negative_prompt)
    ids = np.array([tokenizer.encode(text).ids for text in texts], np.int64)
    (embeds,) = run["text_encoder"]({"input_ids": ids})
    canvas = {"image": generation.image[None], "mask_image": generation.mask_image[None]}
    masked_image_latents, mask_latents = run["vae_encoder"](canvas)
    request = DenoiseRequest(
        *embeds,
        masked_image_latents[0],
        mask_latents[0],
        generation.control_image,
        latents=generation.latents,
        parameters=generation.parameters,
    )
    answers = SimpleQueue()
    engine = Engine(OnnxStepRunner(repository / "denoiser" / "1"), family)
    try:
        engine.submit(request, answers.put)
        latents = answers.get(timeout=120)
    finally:
        engine.close(drain_s=0)
    (image,) = run["vae_decoder"]({"latents": latents[None]})
    return latents, image[0]


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(num_inference_steps=10),
        Parameters(num_inference_steps=6, scheduler="euler", guidance_scale=3.0),
    ],
    ids=lambda parameters: parameters.scheduler,
)
def test_a_picture_in_fp16_is_that_of_fp32(halved, parameters):
    checkpoints, repository = halved
    generation = make_generation(parameters, 96, 64)
    latents, image = pictures(repository, generation)
    original_latents, original = Reference(checkpoints).generate(generation)
    spread = np.abs(original_latents).max()
    assert np.abs(latents - original_latents).max() < 1e-2 * spread
    off = np.abs(image.astype(int) - original)
    assert off.max() <= 3
    assert off.mean() < 0.25
    assert original.std() > 20, "a picture in which something could be wrong"


def with_louder(path, weight, factor, target):
    """The graph with one weight's numbers multiplied."""
    model = onnx.load(path)
    (found,) = [one for one in model.graph.initializer if one.name == weight]
    louder = (numpy_helper.to_array(found).astype(np.float32) * factor).astype(np.float16)
    found.CopyFrom(numpy_helper.from_array(louder, weight))
    onnx.save(model, target)
    return target


def louder_vae(parts, factor):
    vae = parts.load_vae()
    vae.decoder.conv_in.weight.mul_(factor)
    return vae_decoder_cases(vae)


def louder_unet(parts, factor):
    unet = parts.load_unet()
    unet.conv_in.weight.mul_(factor)
    family = parts.family
    return step_cases(unet, parts.load_controlnets(), family.dims, family.canvas.multiple)


#: A weight, how much louder it gets, and what the originals answer then.
LOUD = {
    "vae_decoder": ("vae.decoder.conv_in.weight", 2000.0, louder_vae),
    "step": ("unet.conv_in.weight", 4000.0, louder_unet),
}


@pytest.mark.parametrize("name", LOUD)
@torch.no_grad()
def test_activations_of_many_thousands_change_nothing(halved, name, tmp_path):
    """The residual streams of trained networks are as loud; squared, a thousand is beyond fp16."""
    weight, factor, make_cases = LOUD[name]
    graph = with_louder(halved[1] / ARTIFACTS[name], weight, factor, tmp_path / "loud.onnx")
    cases = list(make_cases(parts_of(halved[0]), factor))
    assert parity.check(name, graph, cases, "fp16")
    assert 5000 < headroom.check(name, graph, cases).greatest < headroom.LARGEST_FP16 / 2


@torch.no_grad()
def test_activations_beyond_fp16_are_refused_although_a_cpu_hides_them(halved, tmp_path):
    weight, _, make_cases = LOUD["vae_decoder"]
    graph = with_louder(halved[1] / ARTIFACTS["vae_decoder"], weight, 50000.0, tmp_path / "loud.onnx")
    cases = list(make_cases(parts_of(halved[0]), 50000.0))
    with pytest.raises(
        ExportError, match=r"vae_decoder: got magnitudes to .* in \w+, expected at most 32752"
    ):
        headroom.check("vae_decoder", graph, cases)
    assert list(tmp_path.iterdir()) == [graph], "what was written to look inside is gone"


def test_what_looks_at_a_number_stands_right_behind_it(halved, tmp_path):
    path = tmp_path / "watching.onnx"
    tensors = headroom._write_watching(halved[1] / ARTIFACTS["sam_encoder"], path)
    outputs = [output for node in onnx.load(path).graph.node for output in node.output]
    assert len(tensors) > 50
    for tensor in tensors:
        assert outputs.index(f"{tensor}/greatest") == outputs.index(tensor) + 3


def test_scores_are_looked_at_although_attention_is_one_node(halved, tmp_path):
    path = tmp_path / "watching.onnx"
    tensors = headroom._write_watching(halved[1] / ARTIFACTS["step"], path)
    nodes = onnx.load(path, load_external_data=False).graph.node
    scores = {node.input[0] for node in nodes if node.op_type == "Softmax"}
    assert scores
    assert scores <= set(tensors)


def test_photos_of_a_batch_are_looked_at_one_by_one_and_a_step_as_a_whole():
    def case(name, batch):
        return Case(
            "",
            {tensor.name: torch.zeros(batch, *range(1, len(tensor.dims))) for tensor in GRAPHS[name].inputs},
            {},
        )

    fed = [
        {array.shape[0] for array in feeds.values()}
        for feeds in headroom._feeds("sam_encoder", case("sam_encoder", 3))
    ]
    assert fed == [{1}, {1}, {1}]
    (step,) = headroom._feeds("step", case("step", 3))
    assert {array.shape[0] for array in step.values()} == {3}
    unsteered = case("step", 3)
    unsteered.inputs["control_row"] = torch.zeros(0)
    assert not list(headroom._feeds("step", unsteered))
