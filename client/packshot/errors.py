"""Every error that packshot raises on purpose.

::

    PackshotError
     ├── InvalidArgument (also a ValueError)   the caller's mistake; found before any work is queued
     ├── Unavailable                           overloaded, starting or gone; may be tried again
     │    └── Overloaded                       well, and with a full queue
     ├── DeadlineExceeded (also a TimeoutError)
     ├── Cancelled                             the caller gave its request up; inside a server only
     ├── RepositoryError                       a model repository that is incomplete or altered
     ├── ServerStartError                      tritonserver could not be started
     ├── ExportError                           a checkpoint that cannot be exported faithfully
     └── InternalError                         the server failed; its log says why

Each class carries the gRPC status name it stands for in ``code`` and the exit status of the
command line in ``exit_code``. Messages say what, got and expected.
"""

from __future__ import annotations

from typing import ClassVar


class PackshotError(Exception):
    """Base of every error packshot raises on purpose."""

    code: ClassVar[str] = "UNKNOWN"
    exit_code: ClassVar[int] = 1


class InvalidArgument(PackshotError, ValueError):
    """The caller's input is wrong. Nothing was queued; trying again unchanged cannot help."""

    code = "INVALID_ARGUMENT"
    exit_code = 2


class Unavailable(PackshotError):
    """The server is overloaded, still starting, or gone. The same call may succeed later."""

    code = "UNAVAILABLE"
    exit_code = 3


class Overloaded(Unavailable):
    """The server's queue is full: it is well, and will have room."""


class DeadlineExceeded(PackshotError, TimeoutError):
    """The call's own time limit ran out."""

    code = "DEADLINE_EXCEEDED"
    exit_code = 4


class Cancelled(PackshotError):
    """The caller gave the request up, and so it is told by nobody but the server's own parts."""

    code = "CANCELLED"


class RepositoryError(PackshotError):
    """A model repository is missing an artifact, or one does not match its recorded hash."""

    code = "FAILED_PRECONDITION"
    exit_code = 5


class ServerStartError(PackshotError):
    """tritonserver did not become ready."""

    code = "UNAVAILABLE"
    exit_code = 6


class ExportError(PackshotError):
    """A checkpoint cannot be exported, or its exported form does not match the original."""

    code = "FAILED_PRECONDITION"
    exit_code = 7


class InternalError(PackshotError):
    """The server failed while answering. The traceback is in the server's log."""

    code = "INTERNAL"
    exit_code = 8


class PromptTruncatedWarning(UserWarning):
    """A prompt was longer than the text encoder's window; its end was not read."""


def expected(what: str, got: object, expected: object) -> InvalidArgument:
    """The one wording of the caller's mistakes: ``what: got …, expected …``."""
    return InvalidArgument(f"{what}: got {got}, expected {expected}")
