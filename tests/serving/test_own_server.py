"""What a Python model's process does about the server that it belongs to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from packshot_serving.own_server import SUPERVISED

#: Stands for tritonserver, and the process of a model in it.
SERVER = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"
MODEL = "from packshot_serving.own_server import give_up; give_up(); print('refuses')"


def run_server(environment: dict[str, str]) -> tuple[int, str]:
    """The server's exit status and what both wrote."""
    environment = {name: os.environ[name] for name in os.environ.keys() - {SUPERVISED}} | environment
    command = [sys.executable, "-c", SERVER, MODEL]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=30)
    return ended.returncode, ended.stdout


def test_with_a_supervisor_the_process_ends_and_leaves_the_server_to_it():
    assert run_server({SUPERVISED: "1"}) == (0, f"{os.EX_SOFTWARE}\n")


def test_without_a_supervisor_the_server_is_asked_to_stop_and_callers_are_refused_meanwhile():
    assert run_server({}) == (-signal.SIGTERM, "refuses\n")
