"""Where a command writes: tried before any work is done for it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from packshot.errors import expected


def check_output(output: Path, folder: Path) -> None:
    """Try to write where ``--output`` says, and leave nothing behind.

    Args:
        output: as it was given, a file or the folder itself.
        folder: where files will be written; it is made if it is missing, and then removed again.

    Raises:
        InvalidArgument: nothing can be written there.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        make_folder(output, folder)
        with _refusing(output), tempfile.TemporaryFile(dir=folder):
            if output != folder and output.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    finally:
        for path in missing:
            with suppress(OSError, ValueError):
                path.rmdir()


def make_folder(output: Path, folder: Path) -> None:
    """Make the folder of an ``--output``, with its parents, unless it is there.

    Raises:
        InvalidArgument: it cannot be made.
    """
    with _refusing(output):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _refusing(output: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise expected("--output", f"{output} ({why})", "a place to write to") from None
