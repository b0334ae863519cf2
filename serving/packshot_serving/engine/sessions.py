"""ONNX Runtime sessions of a repository's graphs, checked against the contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from packshot.contract import Graph, Tensor
from packshot.errors import RepositoryError
from packshot_serving.engine.device import CPU_PROVIDERS, Provider, require_in_use


def open_session(
    directory: Path,
    graph: Graph,
    intra_op_num_threads: int = 0,
    providers: Sequence[Provider] = CPU_PROVIDERS,
) -> onnxruntime.InferenceSession:
    """The graph's session.

    Args:
        directory: where ``<name of the graph>.onnx`` lies.
        graph: what the contract says of it.
        intra_op_num_threads: 0 lets ONNX Runtime take every core.
        providers: ONNX Runtime's execution providers with their options, best first.

    Raises:
        RepositoryError: the graph is missing, cannot be loaded, or has other tensors than the
            contract says.
        ServerStartError: the first provider does not work on this machine.
    """
    path = graph_path(directory, graph)
    options = session_options(providers)
    options.intra_op_num_threads = intra_op_num_threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, sess_options=options, providers=list(providers))
    except Exception as error:
        raise RepositoryError(f"{path}: ONNX Runtime cannot load it ({error})") from error
    require_in_use(session, providers[0][0])
    check_names(path, "inputs", [node.name for node in session.get_inputs()], graph.inputs)
    check_names(path, "outputs", [node.name for node in session.get_outputs()], graph.outputs)
    return session


def session_options(providers: Sequence[Provider]) -> onnxruntime.SessionOptions:
    """What every session on these providers has in common."""
    options = onnxruntime.SessionOptions()
    # An idle session that spins steals the cores from the one that works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # From the first shape's second run on, ONNX Runtime would have one block for all of it beside what the
    # first run took: twice the memory, and on a processor no quicker.
    options.enable_mem_pattern = providers[0] != CPU_PROVIDERS[0]
    return options


def graph_path(directory: Path, graph: Graph) -> Path:
    """Where a graph lies.

    Raises:
        RepositoryError: it is missing.
    """
    path = directory / f"{graph.name}.onnx"
    if not path.is_file():
        raise RepositoryError(f"{path}: missing")
    return path


def check_names(path: Path, side: str, found: Sequence[str], defined: Sequence[Tensor]) -> None:
    """Refuse a graph that has other tensors than the contract says.

    Raises:
        RepositoryError: it has.
    """
    got, want = sorted(found), sorted(tensor.name for tensor in defined)
    if got != want:
        raise RepositoryError(f"{path}: {side}: got {', '.join(got)}, expected {', '.join(want)}")
