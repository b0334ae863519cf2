"""Catalogues on the real server: finished, and finished again after kills at any moment."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from packshot.catalog.ledger import records
from packshot_serving.launcher import TritonServer
from tests.families import exported
from tests.integration.processes import descendants

PACKSHOT = (sys.executable, "-m", "packshot")
KILLS = 20
STYLES = """
styles:
  scene:
    prompt: "a {name} on a table"
    canvas: [96, 96]
    output_size: [192, 192]
    parameters: {num_inference_steps: 3, guidance_scale: 2}
  strict:
    prompt: "a {name} on a table"
    canvas: [64, 64]
    parameters: {num_inference_steps: 2}
    gate: {max_clipped: 0}
  shop:
    preset: amazon-main
    output_size: [1600, 1600]
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A folder with a manifest of seven products: delivered, set apart and failing ones."""
    folder = tmp_path_factory.mktemp("catalogue")
    Image.fromarray(data.coffee()).resize((300, 200)).save(folder / "coffee.jpg")
    mask = Image.new("L", (300, 200))
    mask.paste(255, (60, 30, 240, 180))
    mask.save(folder / "mask.png")
    cup = {"photo": "coffee.jpg", "mask": "mask.png", "name": "cup"}
    lines = [
        {"sku": "cup", **cup, "style": "scene", "num_images": 3},
        {"sku": "a/b", **cup, "style": "scene", "seed": 2**62},
        {"sku": "plain", **cup, "style": "shop"},
        {"sku": "set apart", **cup, "style": "strict", "num_images": 2},
        {
            "sku": "boxed",
            "photo": "coffee.jpg",
            "boxes": [[40, 10, 250, 190]],
            "name": "cup",
            "style": "scene",
        },
        {"sku": "salient", "photo": "coffee.jpg", "name": "cup", "style": "scene"},
        # What the server alone can know: this canvas is too large for the family.
        {"sku": "fails", **cup, "style": "scene", "canvas": "2048x2048", "output_size": "2048x2048"},
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "styles.yaml").write_text(STYLES)
    return folder


#: Pictures in the ledger when a run was killed.
stopped_at: list[int] = []


class Server:
    """A server on a port of its own that can be killed and started again."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self._port = taken.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._start()

    def kill_and_start(self) -> None:
        """What the machine's out-of-memory killer and its service manager would do."""
        os.kill(descendants(self._running.pid)[0], signal.SIGKILL)
        self._running.wait()
        self.close()
        self._start()

    def close(self) -> None:
        self._running.__exit__(None, None, None)
        self._running.remove_log()

    def _start(self) -> None:
        self._running = TritonServer(self._repository, grpc_port=self._port, drain=False)
        self._running.__enter__()


@pytest.fixture(scope="module")
def server():
    server = Server(exported("tiny-sd2")[1])
    yield server
    server.close()


def start(catalogue: Path, output: Path, server: Server, *options: str) -> subprocess.Popen[bytes]:
    command = (
        *PACKSHOT, "catalog", "run", str(catalogue / "manifest.jsonl"), "--output", str(output),
        "--server", server.address, "--max-in-flight", "3", *options,
    )  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> str:
    """Its standard output; a run in which something failed ends with status 10."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 10, err.decode()
    return out.decode()


def pictures(output: Path) -> dict[str, bytes]:
    """Everything that was delivered or set apart, without the sidecars' times."""
    found = {}
    for where in ("delivered", "rejected"):
        for path in sorted((output / where).rglob("*")):
            if path.is_dir():
                continue
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps({**json.loads(content), "timings_s": None}).encode()
            found[path.relative_to(output).as_posix()] = content
    return found


def made(output: Path) -> list[str]:
    """Keys of the pictures in the ledger."""
    return [record["key"] for _, _, record in records(output) if record["kind"] == "picture"]


def wait_for_pictures(process: subprocess.Popen[bytes], output: Path, count: int) -> None:
    """Return when that many are in the ledger, or none will come any more."""
    deadline = time.monotonic() + 60
    while process.poll() is None and len(made(output)) < count:
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"{count} pictures did not come")
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(catalogue, server, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    assert finish(start(catalogue, output, server)).splitlines()[:3] == [
        "INVALID_ARGUMENT\t1", "delivered\t5", "rejected\t1",
    ]  # fmt: skip
    return output


def test_a_catalogue_is_worked_off(undisturbed):
    summary = json.loads((undisturbed / "summary.json").read_text())
    assert summary["items"] == {"delivered": 5, "rejected": 1, "INVALID_ARGUMENT": 1}
    assert summary["pictures"] == {"delivered": 7, "rejected": 2}
    (error,) = map(json.loads, (undisturbed / "errors.jsonl").read_text().splitlines())
    assert (error["sku"], error["code"], error["parameter"]) == ("fails", "INVALID_ARGUMENT", "canvas")
    names = [name for name in pictures(undisturbed) if name.endswith(".png")]
    assert sum(name.startswith("delivered/a%2Fb/") for name in names) == 1
    assert not list((undisturbed / "work").iterdir())


def test_a_second_run_does_nothing(catalogue, server, undisturbed):
    before = (undisturbed / "ledger.jsonl").read_bytes()
    finish(start(catalogue, undisturbed, server))
    assert (undisturbed / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("number", range(KILLS))
def test_after_a_kill_the_next_run_finishes_with_the_same_pictures(
    catalogue, server, undisturbed, tmp_path, number
):
    chance = random.Random(number)
    target = ("runner", "server", "both")[number % 3]
    output = tmp_path / "out"
    process = start(catalogue, output, server)
    wait_for_pictures(process, output, chance.randrange(len(made(undisturbed))))
    time.sleep(chance.uniform(0, 0.3))
    if target != "server":
        process.kill()
        process.communicate()
    if target != "runner":
        server.kill_and_start()
    stopped_at.append(len(made(output)))
    if target == "server":
        process.communicate(timeout=120)  # it may have got over it, or given up
    if chance.random() < 0.5 and (output / "ledger.jsonl").is_file():
        # A power cut in the last line.
        with (output / "ledger.jsonl").open("ab") as ledger:
            ledger.write(b'{"kind": "picture", "sku": "cu')
    finish(start(catalogue, output, server))

    assert pictures(output) == pictures(undisturbed)
    assert not list(output.rglob(".packshot-*"))
    assert not list((output / "work").iterdir())
    assert len(made(output)) == len(set(made(output)))


def test_the_kills_came_in_the_midst_of_the_work(undisturbed):
    assert sum(0 < count < len(made(undisturbed)) for count in stopped_at) >= KILLS // 4, stopped_at


def test_shards_share_a_folder(catalogue, server, undisturbed, tmp_path):
    output = tmp_path / "out"
    shards = [start(catalogue, output, server, "--shard", f"{index}/2") for index in range(2)]
    for shard in shards:
        shard.communicate(timeout=120)
    assert {shard.returncode for shard in shards} <= {0, 10}
    assert pictures(output) == pictures(undisturbed)


def test_a_full_disk_ends_the_run_and_loses_nothing(catalogue, server, undisturbed, tmp_path):
    output = tmp_path / "out"
    limit = 'ulimit -f 200; exec "$@"'  # in KiB, of every file that is written
    command = (
        *PACKSHOT, "catalog", "run", str(catalogue / "manifest.jsonl"), "--output", str(output),
        "--server", server.address,
    )  # fmt: skip
    ended = subprocess.run(("bash", "-c", limit, "bash", *command), capture_output=True, check=False)
    assert ended.returncode == 1, ended.stderr.decode()
    assert "File too large" in ended.stderr.decode()
    finish(start(catalogue, output, server))
    assert pictures(output) == pictures(undisturbed)


def test_a_copied_folder_goes_on_elsewhere(catalogue, server, undisturbed, tmp_path):
    moved = Path(shutil.copytree(undisturbed, tmp_path / "moved"))
    before = (moved / "ledger.jsonl").read_bytes()
    finish(start(catalogue, moved, server))
    assert (moved / "ledger.jsonl").read_bytes() == before


def test_ray_makes_the_same_pictures(catalogue, server, undisturbed, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'packshot[ray]'")
    output = tmp_path / "out"
    finish(start(catalogue, output, server, "--engine", "ray"))
    assert pictures(output) == pictures(undisturbed)
    before = (output / "ledger.jsonl").read_bytes()
    finish(start(catalogue, output, server))
    assert (output / "ledger.jsonl").read_bytes() == before
