"""Finds a tritonserver and what it needs to run: the one on PATH, else the wheel's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from packshot.errors import ServerStartError

STANDIN_BACKENDS = Path(__file__).parent / "backends"
SYSTEM_LIBRARIES = Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "")


@dataclass(frozen=True, slots=True)
class Installation:
    """A tritonserver that can be started.

    Attributes:
        binary: the executable.
        environment: variables it needs on top of ours.
        arguments: command-line arguments that say where its parts lie.
        has_tensorrt: whether Triton's ``tensorrt`` backend may be taken to be there.
    """

    binary: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    has_tensorrt: bool = False


def find_installation(runtime: Path) -> Installation:
    """The tritonserver on PATH, used as it is, else the one in the nvidia-pytriton wheel.

    Args:
        runtime: a directory of ours that lives as long as the server; the wheel's backends and our
            stand-ins are put together there.

    Raises:
        ServerStartError: there is none, or what it needs is missing.
    """
    on_path = shutil.which("tritonserver")
    if on_path:
        # Plans that later versions load bring code along, which Triton wants to be told of.
        arguments = ("--backend-config=tensorrt,version-compatible=true",)
        return Installation(Path(on_path), arguments=arguments, has_tensorrt=True)
    return _wheel_installation(runtime)


def _wheel_installation(runtime: Path) -> Installation:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServerStartError(
            "no tritonserver on PATH and no nvidia-pytriton wheel; "
            "install one with: pip install 'packshot[serve]'"
        )
    _check_numpy()
    package = Path(spec.origin).parent
    server = package / "tritonserver"
    backends = _assemble_backends(server, runtime)
    libraries = [str(package.parent / "nvidia_pytriton.libs"), str(_libpython_directory())]
    if inherited := os.environ.get("LD_LIBRARY_PATH"):
        libraries.append(inherited)
    return Installation(
        binary=server / "bin" / "tritonserver",
        environment={
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            # The stub embeds the first `python3` on PATH: it must be this environment's.
            "PATH": os.pathsep.join([str(_python_directory(runtime)), os.environ.get("PATH", "")]),
        },
        arguments=(
            f"--backend-directory={backends}",
            f"--cache-directory={server / 'caches'}",
        ),
    )


def _check_numpy() -> None:
    version = importlib.metadata.version("numpy")
    if int(version.split(".")[0]) >= 2:
        raise ServerStartError(
            f"got numpy {version}, expected numpy<2: with numpy 2 the Python backend of this tritonserver "
            "returns empty tensors; install it with: pip install 'packshot[serve]'"
        )


def _libpython_directory() -> Path:
    """Where ``libpython3.x.so`` lies; the stub of the Python backend is linked against it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"libpython{version}.so.1.0"
    candidates = [Path(sysconfig.get_config_var("LIBDIR")), Path(sys.base_prefix, "lib"), SYSTEM_LIBRARIES]
    for directory in candidates:
        if (directory / name).exists():
            return directory
    raise ServerStartError(
        f"{name} was not found in {', '.join(map(str, candidates))}; the Python backend needs it: "
        f"use a Python built with --enable-shared, or install libpython{version}"
    )


def _python_directory(runtime: Path) -> Path:
    """A directory whose ``python3`` is this interpreter."""
    beside = Path(sys.executable).parent
    if (beside / "python3").exists():
        return beside
    directory = runtime / "bin"
    directory.mkdir(exist_ok=True)
    (directory / "python3").symlink_to(sys.executable)
    return directory


def _assemble_backends(server: Path, runtime: Path) -> Path:
    """``backends/python`` with the stub of this interpreter, and our ``backends/onnxruntime``."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise ServerStartError(f"nvidia-pytriton has no Python backend for Python {version}")
    backends = runtime / "backends"
    # Copied, not linked: Triton refuses a library that a link leads out of the backend directory.
    shutil.copytree(STANDIN_BACKENDS, backends)
    shutil.copytree(server / "backends" / "python", backends / "python")
    shutil.copy2(stub, backends / "python")
    return backends
