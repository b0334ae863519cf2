"""What ``import packshot`` offers: a name added or lost here is a decision, not an accident."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import packshot

NAMES = [
    "AsyncStudio", "Composition", "Cutout", "DeadlineExceeded", "ExportError", "Family", "InternalError",
    "InvalidArgument", "Options", "Overloaded", "PackshotError", "Parameters", "Photo", "Placement",
    "PromptTruncatedWarning", "RepositoryError", "ServerStartError", "Shot", "StepProgress", "Studio", "Unavailable",
    "__version__", "canny", "compose", "load_photo", "paste_back", "read_made_by",
]  # fmt: skip


def test_the_exported_names_are_these():
    assert packshot.__all__ == NAMES
    assert all(hasattr(packshot, name) for name in NAMES)
    assert packshot.__version__ == version("packshot")


def test_importing_the_client_brings_in_neither_torch_nor_the_server():
    heavy = ("torch", "diffusers", "transformers", "onnxruntime", "packshot_serving", "packshot_export")
    code = f"import packshot, packshot.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_sync_client_offers_what_the_asyncio_client_does():
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(packshot.Studio) == public(packshot.AsyncStudio)
