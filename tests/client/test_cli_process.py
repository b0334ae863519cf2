"""The command line as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.client.fake_triton import paint_seed, slow

SHOOT = ("shoot", "cup.png", "--prompt", "a cup", "--canvas", "96x64", "--output", "out", "--seed", "7")


def test_a_long_prompt_is_a_warning_on_standard_error(folder, triton):
    triton.models["generate"] = lambda arrays: {
        **paint_seed(arrays), "num_truncated_tokens": np.array([3, 0], np.int32)
    }  # fmt: skip
    command = [sys.executable, "-m", "packshot", *SHOOT, "--server", triton.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "out/cup-7.png\n")
    assert done.stderr == "packshot: warning: prompt: the last 3 tokens did not fit and were not read\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_call_at_the_server_and_ends_with_130(folder, triton, number):
    triton.models["generate"] = slow(2, paint_seed)
    command = [sys.executable, "-m", "packshot", *SHOOT, "--server", triton.address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not triton.calls and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert triton.cancelled.wait(5)
    assert not Path("out").exists()


def test_sigterm_stops_the_embedded_server(folder):
    code = """
import contextlib, time
from packshot import cli
from packshot.cli import connection

@contextlib.contextmanager
def server(repository, *, drain):
    try:
        print("started", flush=True)
        time.sleep(60)
    finally:
        print("stopped", flush=True)

connection.embedded_server = lambda: server
cli.main()
"""
    process = subprocess.Popen([sys.executable, "-c", code, *SHOOT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "stopped\n")
