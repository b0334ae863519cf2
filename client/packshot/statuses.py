"""gRPC statuses as packshot's errors."""

from __future__ import annotations

import re

from packshot.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidArgument,
    Overloaded,
    PackshotError,
    RepositoryError,
    Unavailable,
)

#: Status name → error. CANCELLED comes from a server that stops, or whose stream has ended.
ERRORS: dict[str, type[PackshotError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "UNAVAILABLE": Unavailable,
    "CANCELLED": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": RepositoryError,
    "FAILED_PRECONDITION": RepositoryError,
    "UNIMPLEMENTED": RepositoryError,
}

#: gRPC's own words, with the status INTERNAL, when a stream ended before its request was written: how the
#: server ended it is lost. Triton ends streams when it stops; what a model refuses comes as an answer.
_ENDED_FIRST = "Internal error from Core"
#: Triton's words, with whatever status, while it stops, and when a model's process has died.
_STOPPING = re.compile("server is stopping|stopped accepting|has no available versions|is not healthy")
#: The denoiser's words, and Triton's.
_FULL = re.compile("queue is full|exceeds maximum queue size", re.IGNORECASE)
NO_SERVER = "no server answers there"
_WENT_AWAY = "the server went away during the call"
SEE_LOG = "; the server's log says more"

#: What Triton puts before a model's own message: request id, ensemble, and "Failed to process …".
_PREFIXES = (
    r"\[request id: [^\]]*\]\s*",
    r"in ensemble '[^']*',\s*",
    r"Failed to process the request\(s\) for model instance '[^']*', message:\s*",
    r"(?:TritonModelException|PackshotError|InvalidArgument|Unavailable|DeadlineExceeded|InternalError):\s*",
)
_PREFIX = re.compile("|".join(_PREFIXES))


def translate(status: str | None, message: str, server: str) -> PackshotError:
    """The error a gRPC status stands for.

    The caller's mistakes are told in the server's words alone; everything else names the server.

    Args:
        status: as tritonclient tells it, ``StatusCode.UNAVAILABLE``.
        message: the server's, or gRPC's own if there was no answer.
        server: ``host:port``.
    """
    kind = ERRORS.get((status or "").rpartition(".")[2], InternalError)
    text = plain(message)
    if kind is InternalError and text == _ENDED_FIRST:
        return Unavailable(f"{server}: {_WENT_AWAY}")
    if kind is InvalidArgument:  # whose text may quote anything
        return InvalidArgument(text)
    if _STOPPING.search(text):
        return Unavailable(f"{server}: the server is stopping")
    if kind is Unavailable and _FULL.search(text):
        kind = Overloaded
    elif kind is Unavailable and re.search(r"parsing HTTP/2|http1", text, re.IGNORECASE):
        text = "something answers there, but not gRPC; a server's gRPC port is 8001 unless told otherwise"
    elif kind is Unavailable and re.search("failed to connect|connection refused", text, re.IGNORECASE):
        text = NO_SERVER
    elif kind is Unavailable and re.search(
        "socket closed|connection reset|recvmsg|cancelling all calls", text, re.IGNORECASE
    ):
        text = _WENT_AWAY
    elif kind is InternalError:
        text = f"{text or 'failed without a message'}{SEE_LOG}"
    return kind(f"{server}: {text}")


def plain(message: str) -> str:
    """A model's own message, without what Triton puts before it; one line."""
    text = " ".join(message.split())
    while match := _PREFIX.match(text):
        text = text[match.end() :]
    return text
