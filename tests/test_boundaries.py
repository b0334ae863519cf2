"""Who may import whom: the table in CONTRIBUTING.md, kept true."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CLIENT = {"packshot", "numpy", "cv2", "PIL", "tritonclient", "grpc", "typer", "click", "rich"}
MAY_IMPORT = {
    "client/packshot": CLIENT,
    # grpc and protobuf are tritonclient's own; the launcher asks the server whether it is ready.
    "serving/packshot_serving": {
        "packshot", "packshot_serving", "numpy", "onnxruntime", "openvino", "tokenizers",
        "tritonclient", "grpc", "google", "typer",
    },
    # packshot_serving: an export ends with the configs that its family determines.
    "export/packshot_export": {
        "packshot", "packshot_export", "packshot_serving", "numpy", "torch", "diffusers", "transformers",
        "huggingface_hub", "safetensors", "onnx", "onnxscript", "onnxruntime", "tokenizers", "typer", "rich",
    },
    # packshot_export, packshot_serving: what is trained and judged is what is exported and served.
    "pocket/packshot_pocket": {
        "packshot", "packshot_export", "packshot_pocket", "packshot_serving",
        "numpy", "cv2", "PIL", "skimage", "torch", "diffusers", "transformers",
    },
}  # fmt: skip

#: The Python backend's module exists inside tritonserver only.
TRITON_SIDE = ("adapters", "backends")


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.split(".")[0] for name in found} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        allowed = MAY_IMPORT[package]
        if set(path.relative_to(ROOT / package).parts) & set(TRITON_SIDE):
            allowed = allowed | {"triton_python_backend_utils"}
        assert imports(path) <= allowed, path.relative_to(ROOT)


def test_the_client_reaches_server_and_exporter_through_entry_points_only():
    for path in (ROOT / "client").rglob("*.py"):
        assert not imports(path) & {"packshot_serving", "packshot_export", "packshot_pocket", "torch"}, path
