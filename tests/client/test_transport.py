"""Retries, deadlines, and errors in the caller's words."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest

from packshot import (
    AsyncStudio,
    DeadlineExceeded,
    InternalError,
    InvalidArgument,
    Options,
    Overloaded,
    RepositoryError,
    Studio,
    Unavailable,
)
from packshot.backoff import backoff_s
from packshot.errors import PackshotError
from packshot.statuses import plain, translate
from packshot.transport import Transport
from tests.client.fake_triton import FAMILY, FakeTriton, Status, failing, paint_seed, slow
from tests.client.pictures import generation

HASTY = Options(timeout_s=5, max_retries=2, first_backoff_s=0.01, max_backoff_s=0.02)


def generate(server: FakeTriton | str, options: Options = HASTY, **arguments) -> np.ndarray:
    address = server if isinstance(server, str) else server.address

    async def call() -> np.ndarray:
        async with AsyncStudio(address, options) as studio:
            return await studio.generate(**{**generation(), "prompt": "a cup", **arguments})

    return asyncio.run(call())


def test_a_client_may_try_for_ever():
    assert 2.5 <= backoff_s(100_000, 0.2, 5.0) <= 5.0


def test_unavailable_is_tried_again(triton):
    busy = failing(2, grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", paint_seed)
    triton.models["generate"] = busy
    assert (generate(triton, seed=7) == 7).all()
    assert len(triton.calls) == 3


def test_it_gives_up_after_the_last_retry(triton):
    busy = failing(99, grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", paint_seed)
    triton.models["generate"] = busy
    with pytest.raises(Overloaded, match=f"{triton.address}: Exceeds maximum queue size"):
        generate(triton)
    assert len(triton.calls) == 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.INTERNAL, InternalError),
        (grpc.StatusCode.UNKNOWN, InternalError),
        (grpc.StatusCode.NOT_FOUND, RepositoryError),
        (grpc.StatusCode.UNIMPLEMENTED, RepositoryError),
    ],
)
def test_other_errors_are_not_tried_again(triton, code, kind):
    triton.models["generate"] = failing(99, code, "no", paint_seed)
    with pytest.raises(kind, match="no"):
        generate(triton)
    assert len(triton.calls) == 1


def test_no_retry_sleeps_beyond_the_deadline(triton):
    triton.models["generate"] = failing(99, grpc.StatusCode.UNAVAILABLE, "busy", paint_seed)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="busy"):
        generate(triton, Options(timeout_s=1, max_retries=50, first_backoff_s=0.6, max_backoff_s=60))
    assert time.monotonic() - began < 2


def test_a_slow_answer_is_a_deadline_exceeded(triton):
    triton.models["generate"] = slow(1.5, paint_seed)
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.3 s"):
        generate(triton, Options(timeout_s=0.3))
    assert triton.cancelled.wait(5), "the server is told"


def test_where_no_server_is_the_message_names_the_address():
    with FakeTriton() as gone:
        address = gone.address
    with pytest.raises(Unavailable, match=f"{address}: no server answers there"):
        generate(address)


def test_a_server_that_dies_in_the_middle_of_a_call_is_unavailable_and_nothing_hangs(triton):
    asked = threading.Event()

    def die(arrays):
        asked.set()
        time.sleep(1)
        return paint_seed(arrays)

    triton.models["generate"] = die
    threading.Thread(target=lambda: (asked.wait(5), triton.stop()), daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Unavailable) as told:
        generate(triton)
    assert time.monotonic() - began < 5
    went_away = f"{triton.address}: the server went away during the call; then no server answers there"
    assert str(told.value) == went_away, "what began it, and how the last retry ended"


def test_an_http_port_is_told_from_nothing_at_all():
    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{http.server_port}"
        with pytest.raises(Unavailable, match=f"{address}: something answers there, but not gRPC; .* 8001"):
            generate(address)
        http.shutdown()


def test_a_server_that_comes_back_is_found_again():
    with FakeTriton() as first:
        address = first.address

    async def call() -> np.ndarray:
        options = Options(timeout_s=10, max_retries=20, first_backoff_s=0.1, max_backoff_s=0.2)
        async with AsyncStudio(address, options) as studio:
            return await studio.generate(*generation().values(), prompt="a cup", seed=3)

    def restart() -> None:
        time.sleep(0.5)
        servers.append(FakeTriton(port=int(address.rpartition(":")[2])))
        servers[0].__enter__()

    servers: list[FakeTriton] = []
    thread = threading.Thread(target=restart)
    thread.start()
    try:
        assert (asyncio.run(call()) == 3).all()
    finally:
        thread.join()
        for server in servers:
            server.stop()


OTHER = replace(FAMILY, name="other").to_json()


def test_a_server_that_was_redeployed_between_two_calls_is_asked_what_it_serves_now():
    with FakeTriton() as first, Studio(first.address) as studio:
        assert (studio.family().name, studio.artifacts()) == ("fake", "")
        first.stop()
        with FakeTriton(OTHER, port=int(first.address.rpartition(":")[2]), artifacts="new"):
            time.sleep(0.2)
            assert (studio.family().name, studio.artifacts()) == ("other", "new")


def test_a_server_that_was_redeployed_while_a_call_was_tried_again_is_asked_afterwards(triton):
    def redeployed(arrays):
        if triton.artifacts == "new":
            return paint_seed(arrays)
        triton.family, triton.artifacts = OTHER, "new"
        raise Status(grpc.StatusCode.UNAVAILABLE, "going down")

    triton.models["generate"] = redeployed
    with Studio(triton.address, HASTY) as studio:
        studio.generate(*generation().values(), prompt="a cup")
        assert (studio.family().name, studio.artifacts()) == ("other", "new")


@pytest.mark.parametrize("family", ["", "{}", "[1]", '{"name": "x"}'])
def test_a_server_that_is_not_packshot_is_told_apart(family):
    with (
        FakeTriton(family) as other,
        pytest.raises(RepositoryError, match="got a 'generate' without a family"),
    ):
        generate(other)


def test_an_empty_answer_is_the_servers_fault(triton):
    triton.models["generate"] = lambda arrays: {"num_truncated_tokens": np.zeros(2, np.int32)}
    with pytest.raises(InternalError, match="ended without a picture"):
        generate(triton)


@pytest.mark.parametrize(
    "server",
    [
        "localhost", "http://localhost:8001", "", ":", None, ":18001", "a b:1", "localhost:８００１", "localhost:0",
        "127.0.0.1:99999", "::1:8001", "localhost:8001\n",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_at_once(server):
    with pytest.raises(InvalidArgument, match=r"server: got .*, expected host:port"):
        AsyncStudio(server)


@pytest.mark.parametrize(
    ("server", "proxied", "counts"),
    [("192.0.2.2:1", True, True), ("192.0.2.2:1", False, False), ("localhost:1", True, False)],
)
def test_proxies_of_the_environment_count_only_on_the_way_to_others(server, proxied, counts, monkeypatch):
    asked = []
    monkeypatch.setattr("packshot.transport._Client", lambda _, channel_args: asked.extend(channel_args))
    Transport(server, Options(), proxied=proxied)._connected()
    assert (("grpc.enable_http_proxy", 0) not in asked) == counts


@pytest.mark.parametrize("server", ["localhost:8001", "my_host-1.example:1", "127.0.0.1:65535", "[::1]:8001"])
def test_names_and_addresses_with_a_port_are_taken(server):
    AsyncStudio(server)


@pytest.mark.parametrize(
    "message",
    [
        "generate.prompt: got 1, expected 2",
        "in ensemble 'generate', generate.prompt: got 1, expected 2",
        "in ensemble 'generate', [request id: 7] generate.prompt: got 1, expected 2",
        "[request id: <id_unknown>] in ensemble 'generate',\n generate.prompt: got 1, expected 2",
        "in ensemble 'generate', Failed to process the request(s) for model instance 'check_inputs_0', "
        "message: generate.prompt: got 1, expected 2",
    ],
)
def test_tritons_prefixes_are_left_out(message):
    assert plain(message) == "generate.prompt: got 1, expected 2"
    assert (
        str(translate("StatusCode.INVALID_ARGUMENT", message, "host:1"))
        == "generate.prompt: got 1, expected 2"
    )


def test_every_status_becomes_one_of_our_errors():
    for code in grpc.StatusCode:
        assert isinstance(translate(str(code), "why", "host:1"), PackshotError)
    assert isinstance(translate(None, "", "host:1"), InternalError)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("INTERNAL", "Server is stopping, scheduler for model has stopped accepting new inference requests"),
        ("NOT_FOUND", "Request for unknown model: 'segment' has no available versions"),
        ("INTERNAL", "Failed to process the request(s) for model 'denoiser_0_0', message: Stub process "
         "'denoiser_0_0' is not healthy."),
    ],
)  # fmt: skip
def test_a_server_that_stops_is_one_to_try_again(status, message):
    error = translate(f"StatusCode.{status}", message, "host:1")
    assert isinstance(error, Unavailable)
    assert str(error) == "host:1: the server is stopping"


def test_a_stream_that_ended_before_its_request_was_written_is_tried_again():
    """Of 250 runs of a server that stops under load, 12 ended so for one caller."""
    lost = translate("StatusCode.INTERNAL", "Internal error from Core", "host:1")
    assert isinstance(lost, Unavailable)
    assert str(lost) == "host:1: the server went away during the call"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"timeout_s": 0}, "options.timeout_s: got 0, expected a number above 0"),
        ({"timeout_s": float("nan")}, "options.timeout_s: got nan"),
        ({"timeout_s": True}, "options.timeout_s: got True"),
        ({"max_retries": -1}, "options.max_retries: got -1, expected an integer from 0"),
        ({"max_in_flight": 0}, "options.max_in_flight: got 0, expected an integer from 1"),
        ({"max_in_flight": 1.5}, "options.max_in_flight: got 1.5"),
    ],
)
def test_wrong_options_are_refused(fields, message):
    with pytest.raises(InvalidArgument, match=message):
        Options(**fields)
