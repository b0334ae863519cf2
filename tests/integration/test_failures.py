"""Servers that fail: a clear error, no hang, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tritonclient.utils import InferenceServerException

from packshot.errors import ServerStartError
from packshot.family import Manifest, sha256
from packshot.parameters import Parameters
from packshot_serving.launcher import TritonServer
from tests.families import exported
from tests.integration.generations import arrays, make_generation
from tests.integration.processes import descendants, gone
from tests.integration.triton import Triton

DYING_DENOISER = """
from packshot_serving.adapters import denoiser
from packshot_serving.engine.onnx_runner import OnnxStepRunner

def die(self, batch):
    raise SystemExit("a library calls exit()")

class TritonPythonModel(denoiser.TritonPythonModel):
    def initialize(self, args):
        super().initialize(args)
        OnnxStepRunner.step = die
"""


@pytest.fixture
def repository():
    return exported("tiny-sd2")[1]


def shm_prefix_of(server: TritonServer) -> str:
    # python -m packshot_serving.supervisor SHM_PREFIX …
    return Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")[3]


def copy(repository: Path, target: Path) -> Path:
    return Path(shutil.copytree(repository, target / "repository"))


def test_a_clean_stop_leaves_nothing(repository):
    with TritonServer(repository) as server:
        shm_prefix = shm_prefix_of(server)
        assert list(Path("/dev/shm").glob(f"{shm_prefix}*"))
        processes = [server.pid, *descendants(server.pid)]
        log = server.log
        assert len(processes) > 5
    assert gone(processes)
    assert not log.parent.exists()
    assert not list(Path("/dev/shm").glob(f"{shm_prefix}*"))


def test_a_server_that_dies_in_the_middle_of_a_call(repository):
    request = arrays(make_generation(Parameters(200), 512, 512))
    with TritonServer(repository) as server:
        processes = descendants(server.pid)
        triton = Triton(server.grpc_address)
        killer = threading.Timer(1.0, os.kill, (processes[0], signal.SIGKILL))
        killer.start()
        started = time.monotonic()
        with pytest.raises(InferenceServerException) as failed:
            triton.infer("generate", request)
        killer.join()
        assert failed.value.status() == "StatusCode.UNAVAILABLE"
        assert time.monotonic() - started < 10
        assert server.wait() == 128 + signal.SIGKILL
        log = server.log
    assert gone(processes)
    assert log.exists(), "the log of a server that died must stay"
    server.remove_log()


def test_a_launcher_that_is_killed_takes_its_server_along(repository, tmp_path):
    script = (
        "import sys, time; from packshot_serving.launcher import TritonServer\n"
        "server = TritonServer(sys.argv[1]).start(); print(server.pid, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(repository)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as launcher:
        supervisor = int(launcher.stdout.readline())
        processes = [supervisor, *descendants(supervisor)]
        launcher.kill()
    assert gone(processes)


def test_the_models_of_a_server_whose_supervisor_is_killed_end_too(repository):
    request = arrays(make_generation(Parameters(200), 256, 256))
    with TritonServer(repository) as server:
        processes = [server.pid, *descendants(server.pid)]
        shm_prefix = shm_prefix_of(server)
        killer = threading.Timer(1.0, os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(InferenceServerException):
            Triton(server.grpc_address).infer("generate", request)
        killer.join()
        assert server.wait() == -signal.SIGKILL
    assert gone(processes)
    server.remove_log()
    for left_over in Path("/dev/shm").glob(f"{shm_prefix}*"):
        left_over.unlink()


def test_a_broken_model_is_named(repository, tmp_path):
    """The hash is right, so the manifest vouches for it; ONNX Runtime does not."""
    broken = copy(repository, tmp_path)
    artifact = "vae_decoder/1/model.onnx"
    (broken / artifact).write_bytes(b"not a graph")
    manifest = Manifest.read(broken)
    hashes = {**manifest.artifacts, artifact: sha256(broken / artifact)}
    Manifest(manifest.family, manifest.checkpoints, hashes, manifest.exporters).write(broken)
    server = TritonServer(broken)
    with pytest.raises(ServerStartError, match=r"vae_decoder.*; log: ") as failed:
        server.start()
    assert "\n" not in str(failed.value)
    assert server.log.exists()
    server.remove_log()


def test_a_model_whose_process_died_releases_its_callers(repository):
    """Killed for its memory, say. tritonserver alone would leave the callers waiting."""
    request = arrays(make_generation(Parameters(200), 512, 512))
    with TritonServer(repository) as server:
        denoiser = next(
            pid for pid in descendants(server.pid)
            if b"denoiser/1/model.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )  # fmt: skip
        triton = Triton(server.grpc_address)
        threading.Timer(1.0, os.kill, (denoiser, signal.SIGKILL)).start()
        began = time.monotonic()
        with pytest.raises(InferenceServerException):
            triton.infer("generate", request)
        assert "the process of a Python model died" in server.failure(server.wait())
        assert time.monotonic() - began < 20
    server.remove_log()


def test_a_dead_engine_makes_the_server_not_ready(repository, tmp_path):
    """Its caller is answered; then the supervisor ends the server, so that nobody sends it more."""
    copy = shutil.copytree(repository, tmp_path / "repository")
    (copy / "denoiser" / "1" / "model.py").write_text(DYING_DENOISER)
    with TritonServer(copy) as server:
        with pytest.raises(InferenceServerException, match="the denoising engine has died"):
            Triton(server.grpc_address).infer("generate", arrays(make_generation(Parameters(3))))
        assert "the process of a Python model died" in server.failure(server.wait())
    server.remove_log()


def test_a_relocated_repository_serves(repository, tmp_path):
    """Wherever it is: Triton itself cannot take a path with a space."""
    moved = copy(repository, tmp_path / "with a spâce")
    with TritonServer(moved, drain=False) as server:
        answer = Triton(server.grpc_address).infer("generate", arrays(make_generation(Parameters(1))))
    assert answer["generated_image"].shape == (64, 96, 3)
