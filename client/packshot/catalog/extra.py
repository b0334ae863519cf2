"""Modules that come with the extras."""

from __future__ import annotations

import importlib
from typing import Any

from packshot.errors import PackshotError


def needing(extra: str, module: str) -> Any:
    """A module of an extra.

    Raises:
        PackshotError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise PackshotError(
            f"this needs {package}, which is not installed: pip install 'packshot[{extra}]'"
        ) from error
    except ImportError as error:  # Such as a pyarrow that was built for another numpy.
        package = module.partition(".")[0]
        raise PackshotError(
            f"{package} cannot be loaded ({error}): pip install 'packshot[{extra}]'"
        ) from error
