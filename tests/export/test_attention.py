"""Attention is one node of a graph, which brings its definition along."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from onnx.inliner import inline_local_functions

from packshot.contract import ARTIFACTS, GRAPHS
from packshot.family import Manifest
from packshot_export.attention import fused_attention
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
def test_the_definition_answers_what_runtimes_have_kernels_for(name, precision, tmp_path):
    repository = exported(name, precision)[1]
    model = inline_local_functions(onnx.load(repository / ARTIFACTS["step"]))
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} == {""}
    onnx.save(model, tmp_path / "step.onnx")
    dims = Manifest.read(repository).family.dims
    tolerance = {"fp32": 1e-5, "fp16": 1e-2}[precision]
    sessions = [session(path) for path in (tmp_path / "step.onnx", repository / ARTIFACTS["step"])]
    for control_rows in (2, 0):
        sizes = {"B": 2, "R": 3, "P": control_rows, "m": 2, "h": 16, "w": 8}
        inputs = random_inputs(GRAPHS["step"], dims, sizes, 8)
        feeds = {name: tensor.numpy() for name, tensor in inputs.items()}
        found, expected = (np.asarray(one.run(None, feeds)[0]) for one in sessions)
        assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_onnx_runtime_computes_the_node_and_not_its_definition(tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    step = exported("tiny-sd2")[1] / ARTIFACTS["step"]
    onnxruntime.InferenceSession(step, options, providers=["CPUExecutionProvider"])
    before, after = kinds(onnx.load(step)), kinds(onnx.load(tmp_path / "optimized.onnx"))
    assert after["MultiHeadAttention"] == before["MultiHeadAttention"] > 0
    assert not after["Softmax"]


def test_attention_of_another_kind_is_traced_as_it_is_and_all_is_as_before():
    plain, normed = (Attention(16, heads=2, dim_head=8, qk_norm=norm) for norm in (None, "layer_norm"))
    module = torch.nn.ModuleList([plain, normed])
    before = [part.processor for part in module]
    with fused_attention(module):
        assert not isinstance(plain.processor, AttnProcessor2_0)
        assert normed.processor is before[1]
    assert [part.processor for part in module] == before
