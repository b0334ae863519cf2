"""``python -m packshot_serving.generated [--check]``: the committed files that the contract determines.

They are the configs and adapters of ``model_repository/`` and the tensor tables of
``docs/tensors.md``. With ``--check`` nothing is written and a difference is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from packshot.contract import ARTIFACTS, GRAPHS, MODELS, SYMBOLS, Tensor
from packshot.family import Family
from packshot_serving.repository import Deployment, config_files

REPOSITORY = Path("model_repository")
TENSORS = Path("docs/tensors.md")


def generated_files(family: Family, artifacts: str) -> dict[Path, str]:
    """Path in the source tree → text, for every generated file that is committed."""
    configs = {REPOSITORY / path: text for path, text in config_files(family, Deployment(artifacts)).items()}
    return {**configs, TENSORS: tensor_tables()}


def committed_family() -> tuple[Family, str]:
    """The family and the artifacts' digest that the committed configs were generated for."""
    text = (REPOSITORY / "generate/config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    return Family.from_json(config.parameters["family"].string_value), config.parameters[
        "artifacts"
    ].string_value


def tensor_tables() -> str:
    """Markdown tables of every served tensor and every graph."""
    lines = [
        "# Served tensors",
        "",
        "Generated from `packshot.contract`; do not edit. `make generated` writes it again.",
        "",
        "Every served model has a batch axis in front, left out here. `generate`, `segment` and the Python",
        "models take one request at a time (batch 1); the ONNX models are batched by Triton.",
        "",
        "| symbol | meaning |",
        "| --- | --- |",
        *(f"| `{symbol}` | {meaning} |" for symbol, meaning in SYMBOLS.items()),
    ]
    for model in MODELS.values():
        traits = [model.kind, "response cache" * model.response_cache, "decoupled" * model.decoupled]
        lines += ["", f"## `{model.name}`", "", f"{model.doc} ({', '.join(filter(None, traits))})", ""]
        lines += _table(model.inputs, model.outputs)
    lines += ["", "# Graphs", "", "The ONNX files of a repository, batch axes written out."]
    for graph in GRAPHS.values():
        lines += ["", f"## `{ARTIFACTS[graph.name]}`", "", *_table(graph.inputs, graph.outputs)]
    return "\n".join(lines) + "\n"


def _table(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[str]:
    rows = ["| | tensor | dtype | dims | |", "| --- | --- | --- | --- | --- |"]
    for side, tensors in (("in", inputs), ("out", outputs)):
        for tensor in tensors:
            optional = " (optional)" if tensor.optional else ""
            dims = ", ".join(map(str, tensor.dims))
            rows.append(f"| {side} | `{tensor.name}`{optional} | {tensor.dtype} | [{dims}] | {tensor.doc} |")
    return rows


def main(arguments: Sequence[str]) -> int:
    """Write the files, or with ``--check`` list those that differ."""
    files = generated_files(*committed_family())
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    check = "--check" in arguments
    for path in stale:
        sys.stderr.write(f"{path}: {'not what the contract says' if check else 'written'}\n")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
