"""``packshot serve --device``: the same repository, its instances somewhere else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from packshot.contract import MODELS
from packshot.errors import InvalidArgument, ServerStartError
from packshot.family import Manifest
from packshot_serving.launcher import TritonServer
from packshot_serving.repository import Deployment, Plans, write_configs
from tests.families import exported
from tests.integration.triton import Triton

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture
def for_gpu(tmp_path: Path) -> Path:
    """A tiny family whose configs ask for a GPU."""
    repository = shutil.copytree(exported("tiny-sd2")[1], tmp_path / "repository")
    write_configs(Manifest.read(repository).family, repository, Deployment(device="cuda"))
    return repository


def decoded(server: TritonServer) -> np.ndarray:
    latents = np.random.default_rng(0).standard_normal((4, 16, 16)).astype(np.float32)
    return Triton(server.grpc_address).infer("vae_decoder", {"latents": latents})["image"]


def test_a_repository_for_a_gpu_serves_on_a_cpu(for_gpu, tiny):
    with TritonServer(for_gpu, device="cpu", drain=False) as server:
        np.testing.assert_array_equal(decoded(server), decoded(tiny.server))


def test_a_repository_with_plans_for_a_gpu_serves_its_graphs_on_a_cpu(tmp_path, tiny):
    repository = shutil.copytree(exported("tiny-sd2")[1], tmp_path / "repository")
    manifest = Manifest.read(repository)
    replace(manifest, exporters={**manifest.exporters, "tensorrt": "11.0"}).write(repository)
    plans = Plans("tensorrt", ("sm_90",), dict.fromkeys(MODELS, 1))
    write_configs(manifest.family, repository, Deployment(plans=plans))
    with TritonServer(repository, device="cpu", drain=False) as server:
        np.testing.assert_array_equal(decoded(server), decoded(tiny.server))


def test_bf16_is_for_processors():
    with pytest.raises(InvalidArgument, match="bf16: got device cuda, expected a CPU"):
        TritonServer(exported("tiny-sd2")[1], device="cuda", bf16=True)


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_a_repository_for_a_gpu_says_what_is_missing_on_a_cpu(for_gpu):
    with pytest.raises(ServerStartError, match=r"(?i)gpu"):
        TritonServer(for_gpu).start()


@pytest.mark.skipif(not HAS_CUDA, reason="needs a GPU: this onnxruntime has no CUDAExecutionProvider")
def test_a_repository_for_a_cpu_serves_on_a_gpu(tiny):
    with TritonServer(exported("tiny-sd2")[1], device="cuda", drain=False) as server:
        far = np.abs(decoded(server).astype(int) - decoded(tiny.server)).max()
        assert far <= 2
        assert "a step of 1 slots takes" in server.log.read_text()
