"""Starts that cannot work, found before a server runs: each is one clear sentence."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import socket
import subprocess
import sysconfig
import tempfile
import threading

import onnxruntime
import pytest

from packshot.errors import InvalidArgument, RepositoryError, ServerStartError
from packshot.family import Canvas, Family, Manifest, sha256
from packshot_serving import installation, launcher
from packshot_serving.launcher import TritonServer, _reason
from packshot_serving.ports import choose_ports, listens

DIMS = {"C": 4, "T": 77, "D": 64, "K": 1, "G": 32, "S": 256, "s": 16, "E": 256, "4s": 64}


@pytest.fixture
def repository(tmp_path):
    """A repository with one artifact, whole as far as its manifest goes."""
    artifact = tmp_path / "step.onnx"
    artifact.write_bytes(b"weights")
    family = Family("tiny", "fp32", DIMS, Canvas(), {})
    Manifest(family, {}, {"step.onnx": sha256(artifact)}).write(tmp_path)
    return tmp_path


@pytest.fixture
def no_server_on_path(monkeypatch):
    monkeypatch.setattr(installation.shutil, "which", lambda _name: None)


def test_a_directory_that_is_no_repository(tmp_path):
    with pytest.raises(RepositoryError, match=r"no packshot.json; `packshot export`"):
        TritonServer(tmp_path).start()


def test_a_manifest_that_is_not_json(repository):
    (repository / "packshot.json").write_text("{")
    with pytest.raises(RepositoryError, match="not JSON"):
        TritonServer(repository).start()


def test_a_manifest_of_another_shape(repository):
    (repository / "packshot.json").write_text('{"format": 1}')
    with pytest.raises(RepositoryError, match="not a manifest of this version"):
        TritonServer(repository).start()


def test_a_missing_artifact(repository):
    (repository / "step.onnx").unlink()
    with pytest.raises(RepositoryError, match=r"step.onnx: missing"):
        TritonServer(repository).start()


def test_an_altered_artifact(repository):
    (repository / "step.onnx").write_bytes(b"weightz")
    with pytest.raises(RepositoryError, match=r"step.onnx: got sha256 .* the file was altered"):
        TritonServer(repository).start()


def test_a_taken_port(repository):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerStartError, match=f"port {port} for gRPC on 127.0.0.1 .* in use"):
            TritonServer(repository, grpc_port=port).start()


@pytest.mark.parametrize(
    "ports", [{"grpc_port": 99999}, {"http_port": -5}, {"grpc_port": 18201, "http_port": 18201}]
)
def test_ports_that_cannot_be(repository, ports):
    with pytest.raises(InvalidArgument, match=r"ports: got .*expected different ones to 65535"):
        TritonServer(repository, **ports).start()


@pytest.mark.parametrize("bind", ["::1", "no.such.host.invalid", "a" * 70 + ".b"])
def test_where_a_server_cannot_listen(bind):
    with pytest.raises(InvalidArgument, match=f"bind: got '{bind}', expected an IPv4 address"):
        TritonServer("anywhere", bind=bind)


def test_a_host_name_is_looked_up_for_the_services_that_do_not():
    assert TritonServer("anywhere", bind="localhost").bind == "127.0.0.1"


def test_a_server_is_ready_when_its_last_port_is_open(repository, monkeypatch):
    monkeypatch.setattr(launcher, "all_ready", lambda _triton: True)
    server = TritonServer(repository)
    server._ports = choose_ports({"gRPC": None, "metrics": None}, server.bind)
    opened = []

    def listen():
        host, _, port = server.metrics_address.rpartition(":")
        opened.append(socket.create_server((host, int(port))))

    with subprocess.Popen(["sleep", "60"]) as server._process:
        timer = threading.Timer(0.3, listen)
        timer.start()
        server._wait_until_ready()
        assert opened
        opened[0].close()
        server._process.kill()
    assert not listens(server.metrics_address)


def test_a_temporary_directory_with_a_space(repository, monkeypatch, tmp_path_factory):
    spaced = tmp_path_factory.mktemp("with a space")
    monkeypatch.setattr(tempfile, "tempdir", str(spaced))
    with pytest.raises(ServerStartError, match="set TMPDIR without spaces"):
        TritonServer(repository).start()
    assert not list(spaced.iterdir())


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_a_gpu_that_onnxruntime_was_not_built_for(repository):
    with pytest.raises(
        ServerStartError, match=r"device cuda: got .*, expected one with CUDAExecutionProvider"
    ):
        TritonServer(repository, device="cuda").start()


def test_a_file_that_is_no_repository(repository):
    with pytest.raises(RepositoryError, match="Not a directory; expected a model repository"):
        TritonServer(repository / "step.onnx").start()


def test_no_tritonserver_at_all(repository, monkeypatch, no_server_on_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ServerStartError, match=r"pip install 'packshot\[serve\]'"):
        TritonServer(repository).start()


def test_numpy_2(repository, monkeypatch, no_server_on_path):
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "2.1.0")
    with pytest.raises(ServerStartError, match=r"got numpy 2\.1\.0, expected numpy<2"):
        TritonServer(repository).start()


def test_no_libpython(repository, monkeypatch, no_server_on_path):
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: "/nowhere")
    monkeypatch.setattr(installation.sys, "base_prefix", "/nowhere")
    monkeypatch.setattr(installation, "SYSTEM_LIBRARIES", installation.Path("/nowhere"))
    with pytest.raises(ServerStartError, match=r"libpython3.* was not found .*install libpython3"):
        TritonServer(repository).start()


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "E1122 model_lifecycle.cc:642] \"failed to load 'denoiser' version 1: Internal: "
            "InvalidProtobuf: step.onnx\\n\\nAt:\\n  File x\n",
            "denoiser: Internal: InvalidProtobuf: step.onnx",
        ),
        ("bin/x: error while loading shared libraries: libre2.so.9: cannot open", "libre2.so.9: cannot open"),
        ("all is well", None),
    ],
)
def test_the_reason_is_found_in_the_log(log, reason):
    assert _reason(log) == reason
