"""The process between launcher and server: whatever happens, nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from packshot_serving.processes import living_children
from packshot_serving.supervisor import STUB_DIED, WATCHED
from tests.waiting import until

#: Stands for tritonserver: starts a child, as it does for a Python model, and keeps shared memory.
SERVER = (
    "touch /dev/shm/{prefix}x; sleep 1000 & echo $! > {directory}/child; echo $$ > {directory}/server; {last}"
)


class Supervised:
    """A shell script under supervision."""

    def __init__(self, directory: Path, last: str) -> None:
        self.directory = directory
        self.prefix = f"packshot_test_{uuid.uuid4().hex}_"
        script = SERVER.format(directory=directory, prefix=self.prefix, last=last)
        (directory / "runtime").mkdir()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "packshot_serving.supervisor",
                self.prefix,
                str(directory / "runtime"),
                "bash",
                "-c",
                script,
            ],
            stdin=subprocess.PIPE,
        )
        until(self._started, timeout_s=10)

    def _started(self) -> bool:
        path = self.directory / "server"
        return path.exists() and path.read_text().endswith("\n")

    def pid(self, name: str) -> int:
        return int((self.directory / name).read_text())

    @property
    def shared_memory(self) -> list[Path]:
        return list(Path("/dev/shm").glob(f"{self.prefix}*"))

    def assert_nothing_left(self) -> None:
        assert self.shared_memory == []
        for name in ("server", "child"):
            assert not Path(f"/proc/{self.pid(name)}").exists(), f"{name} still runs"


@pytest.fixture
def supervise(tmp_path):
    started = []

    def start(last: str) -> Supervised:
        started.append(Supervised(tmp_path, last))
        return started[-1]

    yield start
    for supervised in started:
        supervised.process.stdin.close()
        supervised.process.wait(timeout=10)


def test_the_servers_status_is_passed_on(supervise):
    server = supervise("exit 7")
    assert server.process.wait(timeout=10) == 7
    server.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server(supervise, number):
    server = supervise("trap 'exit 0' TERM; while :; do sleep 0.05; done")
    server.process.send_signal(number)
    assert server.process.wait(timeout=10) == 0
    server.assert_nothing_left()


def test_a_launcher_that_vanishes_stops_the_server(supervise):
    server = supervise("sleep 1000")
    server.process.stdin.close()
    assert server.process.wait(timeout=10) == 128 + signal.SIGTERM
    server.assert_nothing_left()
    assert not (server.directory / "runtime").exists()


def test_a_killed_server_leaves_neither_processes_nor_shared_memory(supervise):
    server = supervise("sleep 1000")
    os.kill(server.pid("server"), signal.SIGKILL)
    assert server.process.wait(timeout=10) == 128 + signal.SIGKILL
    server.assert_nothing_left()


def test_a_model_whose_process_died_ends_the_server(supervise):
    """tritonserver itself would go on saying that it is ready."""
    server = supervise("sleep 0.1 & exec sleep 1000")  # one more child comes and goes first
    time.sleep(0.5)
    server.process.send_signal(signal.SIGUSR1)
    time.sleep(0.5)
    os.kill(server.pid("child"), signal.SIGKILL)
    assert server.process.wait(timeout=15) == STUB_DIED
    server.assert_nothing_left()
    assert (server.directory / "runtime").exists(), "the launcher is there to read the log in it"


def test_a_server_that_has_lost_a_model_is_not_waited_for_when_it_is_told_to_stop(supervise):
    server = supervise("trap '' TERM; exec sleep 1000")
    server.process.send_signal(signal.SIGUSR1)
    until((server.directory / "runtime" / WATCHED).exists, timeout_s=10)
    os.kill(server.pid("child"), signal.SIGKILL)
    until(lambda: not living_children(server.pid("server")), timeout_s=10)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=10) == 128 + signal.SIGKILL
    server.assert_nothing_left()


def test_sigquit_kills_a_server_that_would_take_its_time(supervise):
    server = supervise("trap '' TERM; while :; do sleep 0.05; done")
    server.process.send_signal(signal.SIGQUIT)
    assert server.process.wait(timeout=10) == 128 + signal.SIGKILL
    server.assert_nothing_left()
