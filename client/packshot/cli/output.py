"""Where a command writes: tried before any work is done for it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packshot.errors import expected


def check_output(output: Path, folder: Path) -> None:
    """Try to write where ``--output`` says, and leave nothing behind.

    Args:
        output: as it was given, a file or the folder itself.
        folder: where files will be written; if it is missing, it is not made yet.

    Raises:
        InvalidArgument: nothing can be written there.
    """
    with _refusing(output):
        there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        if there == folder:
            make_folder(output, folder)
            tempfile.TemporaryFile(dir=folder).close()
            if output != folder and output.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            return
        # Not where it is going to be: another run may be making it at this moment.
        with tempfile.TemporaryDirectory(dir=there) as scratch:
            stand_in = Path(scratch, folder.relative_to(there))
            stand_in.mkdir(parents=True)
            if output != folder:
                (stand_in / output.name).touch()


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
