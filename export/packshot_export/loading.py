"""Original models from their checkpoints: in fp32, complete, and without a word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging as transformers_logging

from packshot.errors import ExportError
from packshot_export.checkpoints import Source


def load_model(source: Source, kind: type[nn.Module], subfolder: str = "") -> Any:
    """A model in fp32, for inference.

    Args:
        kind: a class of diffusers or transformers.
        subfolder: of the checkpoint.

    Raises:
        ExportError: the files cannot be read as that class, or lack some of its weights.
    """
    where = f"{source.part}: {source.location}/{subfolder}".rstrip("/")
    arguments: dict[str, Any] = {"dtype": torch.float32}
    if kind.__module__.startswith("diffusers"):
        # Low memory usage would ask for another package.
        arguments = {"torch_dtype": torch.float32, "low_cpu_mem_usage": False}
    try:
        with quiet_libraries():
            model, report = kind.from_pretrained(  # pyright: ignore[reportAttributeAccessIssue]
                source.location,
                subfolder=subfolder,
                revision=source.revision,
                output_loading_info=True,
                **arguments,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise ExportError(f"{where} does not load as {kind.__name__}: {reason}") from error
    # Both libraries fill such weights with random numbers and go on.
    missing = sorted(str(key) for key in [*report["missing_keys"], *report["mismatched_keys"]])
    if missing:
        raise ExportError(f"{where} lacks {len(missing)} weights of {kind.__name__}, such as {missing[0]}")
    return model.eval().requires_grad_(False)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bars and no remarks of diffusers and transformers."""
    libraries = (diffusers_logging, transformers_logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
