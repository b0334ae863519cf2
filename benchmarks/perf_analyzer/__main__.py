"""Record what every model of a repository is asked, as input data of NVIDIA's perf_analyzer."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tritonclient.grpc import InferenceServerClient

from benchmarks.perf_analyzer.commands import DATA, data_file
from benchmarks.perf_analyzer.input_data import check, document, served_inputs
from benchmarks.perf_analyzer.recording import record
from packshot.errors import PackshotError
from packshot.family import Family, Manifest
from packshot_serving.launcher import TritonServer


def write(client: InferenceServerClient, family: Family, side: int, output: Path) -> list[Path]:
    """Record on a running server, and write a checked file for each model.

    Args:
        client: of the server.
        family: that it serves.
        side: of the square canvas, in pixels.
        output: directory, made if need be; files of the same names are replaced.

    Raises:
        InvalidArgument: the family does not paint on such a canvas.
    """
    files = []
    for model, entries in record(client, family, side).items():
        recorded = document(entries)
        check(recorded, model, served_inputs(client, model))
        files.append(data_file(model, output))
        output.mkdir(parents=True, exist_ok=True)
        files[-1].write_text(json.dumps(recorded) + "\n")
    return files


def main(arguments: list[str]) -> int:
    """Record; the exit status is that of the error, if there is one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf_analyzer", description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--side", type=int, default=256, help="of the square canvas, in pixels")
    parser.add_argument("--output", type=Path, default=DATA, help="directory for a JSON file of each model")
    options = parser.parse_args(arguments)
    try:
        family = Manifest.read(options.repository).family
        with TritonServer(options.repository) as server, InferenceServerClient(server.grpc_address) as client:
            files = write(client, family, options.side, options.output)
    except PackshotError as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return error.exit_code
    for file in files:
        sys.stdout.write(f"{file}: {file.stat().st_size / 1e6:.2f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
