"""Attention is one node of a graph, which can be spelled out again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from onnx import TensorProto

from packshot.contract import ARTIFACTS, GRAPHS
from packshot.family import Manifest
from packshot_export.attention import fused_attention, spell_out
from packshot_export.axes import random_inputs
from tests.export.conftest import parts_of
from tests.export.test_graphs import session
from tests.families import exported


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


def attentions(*models):
    return sum(isinstance(part, Attention) for model in models for part in model.modules())


def test_each_attention_of_the_denoiser_and_the_vae_is_one_node(family):
    checkpoints, repository = family
    parts = parts_of(checkpoints)
    vae = parts.load_vae()
    for name, models in {
        "step": (parts.load_unet(), *parts.load_controlnets()),
        "vae_encoder": (vae.encoder,),
        "vae_decoder": (vae.decoder,),
    }.items():
        found = kinds(onnx.load(repository / ARTIFACTS[name], load_external_data=False))
        assert found["MultiHeadAttention"] == attentions(*models) > 0
        assert not found["Softmax"]


@pytest.mark.parametrize(("name", "precision"), [("tiny-sd2", "fp32"), ("shallow", "fp16")])
def test_a_graph_that_is_spelled_out_answers_the_same(name, precision, tmp_path):
    repository = exported(name, precision)[1]
    model = onnx.load(repository / ARTIFACTS["step"])
    assert spell_out(model)
    assert not spell_out(model), "once is enough"
    onnx.checker.check_model(model)
    assert {opset.domain for opset in model.opset_import} == {""}
    onnx.save(model, tmp_path / "step.onnx")
    dims = Manifest.read(repository).family.dims
    sizes = {"B": 2, "R": 3, "P": 2, "m": 2, "h": 16, "w": 8}
    feeds = {name: tensor.numpy() for name, tensor in random_inputs(GRAPHS["step"], dims, sizes, 8).items()}
    found, expected = (
        np.asarray(session(path).run(None, feeds)[0])
        for path in (tmp_path / "step.onnx", repository / ARTIFACTS["step"])
    )
    tolerance = {"fp32": 1e-5, "fp16": 1e-2}[precision]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_scores_that_are_spelled_out_have_a_dtype_to_be_found_by():
    model = onnx.load(exported("shallow", "fp16")[1] / ARTIFACTS["step"])
    spell_out(model)
    dtypes = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    scores = [node.input[0] for node in model.graph.node if node.op_type == "Softmax"]
    assert scores
    assert {dtypes[name] for name in scores} == {TensorProto.FLOAT16}


def test_attention_of_another_kind_is_traced_as_it_is_and_all_is_as_before():
    plain, normed = (Attention(16, heads=2, dim_head=8, qk_norm=norm) for norm in (None, "layer_norm"))
    module = torch.nn.ModuleList([plain, normed])
    before = [part.processor for part in module]
    with fused_attention(module):
        assert not isinstance(plain.processor, AttnProcessor2_0)
        assert normed.processor is before[1]
    assert [part.processor for part in module] == before
