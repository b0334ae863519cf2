"""The installed ``packshot`` command, in processes of its own, with real servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from skimage.data import coffee

from packshot import read_made_by
from tests.families import exported
from tests.integration.processes import descendants, gone
from tests.waiting import until

PACKSHOT = Path(sys.executable).with_name("packshot")
BOX = "74,14,484,390"
#: At native scale even the crumbs that SAM finds with random weights stay visible.
PLACE = ("--canvas", "512x400", "--place", "x=.5,y=.5,scale=native")
QUICK = ("--prompt", "a beach", *PLACE, "--num-inference-steps", "2", "--seed", "7")


@pytest.fixture
def repository():
    return exported("tiny-sd2")[1]


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(coffee()).save(tmp_path / "coffee.jpg")
    return tmp_path / "coffee.jpg"


def packshot(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(PACKSHOT), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def test_cut_out_then_shoot_on_a_server(tiny, photo, tmp_path):
    address = tiny.server.grpc_address
    cut = packshot("cutout", photo, "--box", BOX, "--output", tmp_path / "cup.png", "--server", address)
    assert cut.returncode == 0, cut.stderr
    with Image.open(tmp_path / "cup.png") as image:
        assert (image.mode, image.size) == ("RGBA", (600, 400))
    shot = packshot(
        "shoot", tmp_path / "cup.png", *QUICK, "--num-images", 2, "--output", tmp_path / "shots", "--json",
        PACKSHOT_SERVER=address,
    )  # fmt: skip
    assert shot.returncode == 0, shot.stderr
    pictures = sorted((tmp_path / "shots").iterdir())
    assert [picture.name for picture in pictures] == ["cup-7.png", "cup-8.png"]
    assert read_made_by(pictures[1])["seed"] == 8
    assert "cup-8.png" in json.dumps(json.loads(shot.stdout))


def test_shoot_starts_a_server_for_the_call_and_leaves_nothing(repository, photo, tmp_path):
    done = packshot(
        "shoot", photo, "--box", BOX, *QUICK, "--output", tmp_path / "shots", "--repository", repository,
        TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shots" / "coffee-7.png").exists()
    assert not list(tmp_path.glob("packshot-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--box", "0,0,700,390"), "expected"),
        (("--point", "-1,5"), "expected"),
        ((), "--point"),
        (("--box", BOX, "--canvas", "100x96"), "multiples of 8"),
        (("--box", BOX, "--num-inference-steps", "0"), "num_inference_steps: got 0"),
        (("--box", BOX, "--guidance-scale", "nan"), "guidance_scale: got nan"),
        (("--box", BOX, "--scheduler", "plms"), "scheduler: got 'plms'"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(tiny, photo, tmp_path, arguments, message):
    done = packshot(
        "shoot",
        photo,
        "--prompt",
        "a beach",
        *arguments,
        "--output",
        tmp_path,
        "--server",
        tiny.server.grpc_address,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_corrupt_photo(tiny, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photo")
    done = packshot(
        "cutout", tmp_path / "broken.jpg", "--point", "5,5", "--output", tmp_path / "x.png",
        "--server", tiny.server.grpc_address,
    )  # fmt: skip
    assert done.returncode == 2
    assert "broken.jpg" in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_an_altered_repository_exits_5(repository, photo, tmp_path):
    altered = Path(shutil.copytree(repository, tmp_path / "repository"))
    with (altered / "denoiser/1/step.onnx").open("ab") as file:
        file.write(b"x")
    done = packshot("shoot", photo, "--box", BOX, *QUICK, "--output", tmp_path, "--repository", altered)
    assert done.returncode == 5
    assert "step.onnx" in done.stderr


class Serving:
    """``packshot serve`` under way."""

    def __init__(self, repository: Path, port: int) -> None:
        ports = ("--grpc-port", str(port), "--http-port", "0", "--metrics-port", "0")
        self.process = subprocess.Popen(
            [PACKSHOT, "serve", "--repository", repository, *ports], stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        while self.process.poll() is None and not any("ready" in line for line in self.lines):
            self.lines.append(self.process.stderr.readline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_a_signal(repository, number):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serving = Serving(repository, port)
    processes = descendants(serving.process.pid)
    assert f"127.0.0.1:{port}" in serving.lines[-1]
    began = time.monotonic()
    serving.process.send_signal(number)
    rest = serving.process.communicate(timeout=60)[1]
    assert serving.process.returncode == 0, rest
    assert time.monotonic() - began < 20
    assert gone(processes)


def test_serve_on_a_taken_port_exits_6(tiny, repository):
    port = tiny.server.grpc_address.rpartition(":")[2]
    done = packshot("serve", "--repository", repository, "--grpc-port", port)
    assert done.returncode == 6
    assert f"port {port} for gRPC on 127.0.0.1" in done.stderr


def test_serve_tells_when_the_server_dies(repository):
    serving = Serving(repository, 0)
    supervisor, tritonserver, *_ = descendants(serving.process.pid)
    os.kill(tritonserver, signal.SIGKILL)
    rest = serving.process.communicate(timeout=60)[1]
    assert serving.process.returncode == 8
    assert "ended by itself: it ended with status 137; log: " in rest
    log = Path(rest.strip().rpartition("log: ")[2])
    assert log.exists()
    shutil.rmtree(log.parent)
    assert gone([supervisor, tritonserver])


def test_ctrl_c_during_a_shoot_does_not_wait_for_the_picture(repository, photo, tmp_path):
    process = subprocess.Popen(
        [
            PACKSHOT, "shoot", photo, "--box", BOX, "--prompt", "a beach", "--canvas", "1024x1024",
            "--num-inference-steps", "200", "--output", tmp_path, "--repository", repository,
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: len(descendants(process.pid)) >= 9)
    time.sleep(3)
    processes = descendants(process.pid)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - began < 8
    assert gone(processes)
