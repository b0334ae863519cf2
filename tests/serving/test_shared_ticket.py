"""A ticket seen from both of its sides, which are two processes in the server."""

from __future__ import annotations

import errno
import math
import os

import numpy as np
import pytest

from packshot.errors import Cancelled, Unavailable
from packshot_serving.engine import Progress
from packshot_serving.shared_ticket import SharedTicket

SHAPE = (4, 6, 5)


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "packshot-7-"


@pytest.mark.parametrize(
    "progress",
    [
        Progress("waiting", 64, 0, 25),
        Progress("running", 0, 200, 201),
        Progress("ended", 0, 201, 201),
        Progress("waiting", 65535, 65535, 65535),
    ],
)
def test_what_the_engine_reports_is_read_on_the_other_side(prefix, progress):
    caller = SharedTicket.create(prefix)
    engine = SharedTicket.attach(prefix, caller.number)
    assert caller.progress == Progress("preparing")
    engine.report(progress)
    assert caller.progress == progress


def test_giving_up_is_seen_on_the_other_side(prefix):
    caller = SharedTicket.create(prefix)
    engine = SharedTicket.attach(prefix, caller.number)
    assert not engine.cancelled
    caller.cancel()
    assert engine.cancelled


def test_a_preview_is_taken_once_and_the_newest_wins(prefix):
    caller = SharedTicket.create(prefix, 5, SHAPE)
    engine = SharedTicket.attach(prefix, caller.number)
    assert engine.preview_interval == 5
    assert caller.take_preview() is None
    engine.preview(5, np.zeros(SHAPE, np.float32))
    engine.preview(10, np.ones(SHAPE, np.float32))
    taken = caller.take_preview()
    assert taken is not None
    np.testing.assert_array_equal(taken, np.ones(SHAPE, np.float32))
    assert caller.take_preview() is None


def test_a_preview_that_is_being_written_is_not_taken(prefix):
    caller = SharedTicket.create(prefix, 1, SHAPE)
    engine = SharedTicket.attach(prefix, caller.number)

    class Interrupted(Exception):
        pass

    class Latents:
        size = math.prod(SHAPE)

        def ravel(self):
            assert caller.take_preview() is None
            raise Interrupted

    with pytest.raises(Interrupted):
        engine.preview(1, Latents())
    assert caller.take_preview() is None


def test_a_preview_of_another_shape_changes_nothing(prefix):
    caller = SharedTicket.create(prefix, 1, SHAPE)
    engine = SharedTicket.attach(prefix, caller.number)
    with pytest.raises(ValueError, match="a preview of"):
        engine.preview(1, np.zeros((4, 3, 3), np.float32))
    engine.preview(2, np.ones(SHAPE, np.float32))
    assert caller.take_preview() is not None


def test_a_ticket_that_finds_no_room_is_refused_and_leaves_nothing(prefix, monkeypatch):
    """Else the engine would die of its first write."""

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(Unavailable, match="No space left"):
        SharedTicket.create(prefix, 1, SHAPE)
    assert not list(prefix.parent.iterdir())


def test_a_removed_ticket_is_a_cancelled_request(prefix):
    caller = SharedTicket.create(prefix)
    engine = SharedTicket.attach(prefix, caller.number)
    caller.cancel()
    caller.remove()
    caller.remove()
    assert engine.cancelled, "who has it keeps it"
    assert not list(prefix.parent.iterdir())
    with pytest.raises(Cancelled, match="ticket is gone"):
        SharedTicket.attach(prefix, caller.number)


def test_the_last_report_lets_go_of_the_file(prefix):
    """At once, not when a collector comes by: a process has only so many open files."""
    caller = SharedTicket.create(prefix, 1, SHAPE)
    engine = SharedTicket.attach(prefix, caller.number)
    before = len(os.listdir("/proc/self/fd"))
    engine.report(Progress("ended", 0, 3, 3))
    assert len(os.listdir("/proc/self/fd")) == before - 1
    assert engine.progress == caller.progress == Progress("ended", 0, 3, 3)
    caller.cancel()
    caller.close()
    caller.close()
    assert len(os.listdir("/proc/self/fd")) == before - 2
    assert caller.cancelled
    assert caller.take_preview() is None


@pytest.mark.parametrize("number", [0, 2**63 - 1, -1])
def test_a_number_that_nobody_gave_out_is_a_cancelled_request(prefix, number):
    SharedTicket.create(prefix)
    with pytest.raises(Cancelled):
        SharedTicket.attach(prefix, number)
