"""Streamed generations against models that stand still where a test wants it."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import numpy as np
import pytest

from packshot.errors import Cancelled, InvalidArgument, Unavailable
from packshot.family import Canvas, Family
from packshot_serving import draining, streaming
from packshot_serving.engine import Progress
from packshot_serving.shared_ticket import SharedTicket
from packshot_serving.streaming import Streams

DIMS = {"C": 4, "T": 7, "D": 8, "K": 1, "G": 4, "S": 64, "s": 4, "E": 8, "4s": 16}
FAMILY = Family("fake", "fp32", DIMS, Canvas(8, 16, 256), {})
IMAGE = np.zeros((32, 24, 3), np.uint8)
PICTURE = {"generated_image": IMAGE + 1, "num_truncated_tokens": np.zeros(2, np.int32)}


class Caller:
    """Remembers what it was sent; goes away when told to."""

    def __init__(self):
        self.sent, self.left = [], False

    def send(self, outputs):
        self.sent.append(outputs)

    def gone(self):
        return self.left

    @property
    def steps(self):
        return [(sent["queue_position"][0], sent["step"][0], sent["num_steps"][0]) for sent in self.sent]


class Server:
    """Its ``generate`` hands its ticket to the test, and answers when the test sets ``picture``."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.asked, self.cancelled = [], False
        self.decoder_fails, self.decoder_is_free = False, asyncio.Event()
        self.decoder_is_free.set()
        self.ticket = asyncio.get_running_loop().create_future()
        self.picture = asyncio.get_running_loop().create_future()

    async def infer(self, model, arrays, timeout_us=0):
        self.asked.append(model)
        self.timeout_us = timeout_us
        if model == "vae_decoder":
            await self.decoder_is_free.wait()
            if self.decoder_fails:
                raise Unavailable("vae_decoder is busy")
            return {"image": np.full(IMAGE.shape, arrays["latents"].mean(), np.uint8)}
        assert "preview_interval" not in arrays, "generate knows no such input"
        self.ticket.set_result(SharedTicket.attach(self.prefix, arrays["ticket"].item()))
        try:
            return await self.picture
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "packshot-7-"


def run(prefix, scenario):
    """Run ``scenario(server, streams)``; nothing may be left of the tickets."""

    async def begin():
        server = Server(prefix)
        return await asyncio.wait_for(scenario(server, Streams(FAMILY, server.infer, prefix, 0.001)), 20)

    result = asyncio.run(begin())
    assert not list(prefix.parent.iterdir()), "a ticket was left behind"
    return result


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_each_new_state_is_sent_once_and_the_picture_last(prefix):
    async def scenario(server, streams):
        caller = Caller()
        stream = asyncio.create_task(streams.run({"image": IMAGE}, caller))
        ticket = await server.ticket
        for progress in (
            Progress("waiting", 3, 0, 2),
            Progress("running", 0, 0, 2),
            Progress("running", 0, 1, 2),
        ):
            ticket.report(progress)
            await until(lambda p=progress: caller.steps[-1:] == [(p.queue_position, p.step, p.num_steps)])
        await asyncio.sleep(0.02)
        server.picture.set_result(PICTURE)
        assert await stream is PICTURE
        assert caller.steps == [(0, 0, 0), (3, 0, 2), (0, 0, 2), (0, 1, 2)]

    run(prefix, scenario)


def test_a_preview_is_decoded_and_sent(prefix):
    async def scenario(server, streams):
        caller = Caller()
        arrays = {"image": IMAGE, "preview_interval": np.array([2], np.int32)}
        stream = asyncio.create_task(streams.run(arrays, caller))
        ticket = await server.ticket
        assert ticket.preview_interval == 2
        ticket.report(Progress("running", 0, 2, 4))
        ticket.preview(2, np.full((4, 4, 3), 9.0, np.float32))
        await until(lambda: "preview_image" in caller.sent[-1])
        assert (caller.sent[-1]["preview_image"] == 9).all()
        assert caller.steps[-1] == (0, 2, 4)
        server.picture.set_result(PICTURE)
        await stream

    run(prefix, scenario)


async def begin_a_preview(server, streams, caller, decodes=True):
    """A stream whose engine has published a preview."""
    server.decoder_fails = not decodes
    arrays = {"image": IMAGE, "preview_interval": np.array([2], np.int32)}
    stream = asyncio.create_task(streams.run(arrays, caller))
    (await server.ticket).preview(2, np.full((4, 4, 3), 9.0, np.float32))
    await until(lambda: "vae_decoder" in server.asked)
    return stream


def test_a_preview_that_cannot_be_decoded_is_not_worth_the_picture(prefix, caplog):
    async def scenario(server, streams):
        stream = await begin_a_preview(server, streams, Caller(), decodes=False)
        await until(lambda: "vae_decoder is busy" in caplog.text)
        server.picture.set_result(PICTURE)
        assert await stream is PICTURE

    run(prefix, scenario)


def test_neither_the_picture_nor_a_caller_who_leaves_waits_for_a_preview(prefix):
    async def scenario(server, streams):
        server.decoder_is_free.clear()
        stream = await begin_a_preview(server, streams, Caller())
        server.picture.set_result(PICTURE)
        assert await stream is PICTURE

        server.ticket, server.picture = (asyncio.get_running_loop().create_future() for _ in range(2))
        server.asked.clear()
        caller = Caller()
        stream = await begin_a_preview(server, streams, caller)
        caller.left = True
        with pytest.raises(Cancelled):
            await stream

    run(prefix, scenario)


def test_how_long_it_may_wait_is_passed_on(prefix):
    async def scenario(server, streams):
        stream = asyncio.create_task(streams.run({"image": IMAGE}, Caller(), timeout_us=5000))
        await server.ticket
        assert server.timeout_us == 5000
        server.picture.set_result(PICTURE)
        await stream

    run(prefix, scenario)


def test_a_caller_that_goes_away_gives_its_slot_back(prefix):
    async def scenario(server, streams):
        caller = Caller()
        stream = asyncio.create_task(streams.run({"image": IMAGE}, caller))
        ticket = await server.ticket
        assert not ticket.cancelled
        caller.left = True
        with pytest.raises(Cancelled):
            await stream
        assert ticket.cancelled
        await until(lambda: server.cancelled)

    run(prefix, scenario)


def test_an_error_of_generate_is_the_stream_s(prefix):
    async def scenario(server, streams):
        stream = asyncio.create_task(streams.run({"image": IMAGE}, Caller()))
        await server.ticket
        server.picture.set_exception(InvalidArgument("generate.seed: got -1"))
        with pytest.raises(InvalidArgument, match=r"generate\.seed"):
            await stream

    run(prefix, scenario)


@pytest.mark.parametrize("interval", [-1, 201])
def test_a_preview_interval_out_of_range_is_refused_before_anything_is_asked(prefix, interval):
    async def scenario(server, streams):
        arrays = {"image": IMAGE, "preview_interval": np.array([interval], np.int32)}
        with pytest.raises(InvalidArgument, match=r"generate_stream\.preview_interval"):
            await streams.run(arrays, Caller())
        assert not server.asked

    run(prefix, scenario)


def test_too_many_streams_are_refused(prefix, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_STREAMS", 1)

    async def scenario(server, streams):
        first = asyncio.create_task(streams.run({"image": IMAGE}, Caller()))
        await server.ticket
        with pytest.raises(Unavailable, match="queue is full: 1 requests are under way"):
            await streams.run({"image": IMAGE}, Caller())
        server.picture.set_result(PICTURE)
        await first

    run(prefix, scenario)


def test_what_an_earlier_process_left_is_removed(prefix):
    SharedTicket.create(prefix)

    async def scenario(server, streams):
        pass

    run(prefix, scenario)


def test_a_denoiser_that_was_loaded_first_goes_on_taking_requests(monkeypatch, prefix):
    monkeypatch.setattr(draining, "ticket_prefix", lambda _pid: prefix)
    drained = threading.Event()
    draining.drain_when_asked(1, drained.set)
    Streams(FAMILY, None, prefix)
    assert not drained.wait(0.2)
    draining.ask_to_drain(1, lambda: True)
    assert drained.is_set()


def test_every_process_of_a_denoiser_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(draining, "ticket_prefix", lambda _pid: tmp_path / "server-")
    slow, order = threading.Event(), []

    def drain(name):
        if name == 2:
            assert slow.wait(10)
        order.append(name)

    for process in (1, 2):
        monkeypatch.setattr(draining.os, "getpid", lambda process=process: process)
        draining.drain_when_asked(1, partial(drain, process))

    def go_on():
        if order == [1]:
            slow.set()
        return True

    draining.ask_to_drain(1, go_on)
    assert order == [1, 2]
    assert list(tmp_path.iterdir()) == []
