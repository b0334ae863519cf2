"""Which processes a server has, and whether they work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from packshot_serving.processes import living_children

BUSY = "while True: pass"
#: A script called sauvegardes_clés.sh, as the kernel cuts its name: in the middle of a letter.
HALF_A_LETTER = r"""
import ctypes, time
ctypes.CDLL(None).prctl(15, b"sauvegardes_cl\xc3", 0, 0, 0)  # PR_SET_NAME
print("named", flush=True)
time.sleep(100)
"""
WAIT = "from packshot_serving.processes import wait_until_server_rests as wait; print(wait({}))"


@contextmanager
def child(code):
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_children_have_had_processor_time():
    with child(BUSY) as busy, child("import time; time.sleep(100)") as idle:
        time.sleep(1)
        found = living_children(os.getpid())
        assert found[busy.pid] > 0.3
        assert found[idle.pid] < found[busy.pid]
    assert not living_children(os.getpid()).keys() & {busy.pid, idle.pid}


def test_one_may_look_at_some_only():
    with child("import time; time.sleep(100)") as one, child("import time; time.sleep(100)") as other:
        assert living_children(os.getpid(), {one.pid, os.getpid()}).keys() == {one.pid}
        assert living_children(os.getpid()).keys() >= {one.pid, other.pid}


def test_a_process_whose_name_is_no_text_is_one_like_any_other():
    with child(HALF_A_LETTER) as process:
        assert process.stdout.readline() == "named\n"
        assert process.pid in living_children(os.getpid())


@pytest.mark.parametrize(("code", "rests"), [(BUSY, False), ("import time; time.sleep(100)", True)])
def test_one_waits_for_siblings_that_work(code, rests):
    with child(code):
        time.sleep(0.5)
        with child(WAIT.format(1.0)) as waiting:
            assert waiting.communicate()[0] == f"{rests}\n"


def test_one_waits_for_a_parent_that_works():
    """Models of native backends load in the server itself."""
    starts = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAIT.format(1.0)!r}])"
    with child(f"{starts}\n{BUSY}") as parent:
        assert parent.stdout.readline() == "False\n"


def test_one_waits_no_longer_than_they_work():
    with child("import time\nwhile time.process_time() < 1: pass\ntime.sleep(100)"):
        began = time.monotonic()
        with child(WAIT.format(30.0)) as waiting:
            assert waiting.communicate()[0] == "True\n"
        assert 0.5 < time.monotonic() - began < 20
