"""Graphs as TensorRT plans, with ``tensorrt`` or with ``tensorrt_rtx``, which have one API."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packshot.contract import GRAPHS, plan_file
from packshot.errors import InternalError, RepositoryError, ServerStartError
from packshot_serving.engine.device import Device, Memory
from packshot_serving.engine.program import Bound, Run
from packshot_serving.engine.sessions import check_names

logger = logging.getLogger(__name__)

#: Errors of TensorRT that are kept.
_KEPT = 20
#: Of one profile: input → its least and its greatest shape.
_Limits = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]


class TensorRtProgram:
    """A :class:`Program` of a plan; what is repeated is recorded as a CUDA graph.

    Args:
        path: of the plan.
        name: of the contract's ``GRAPHS``.
        trt: the module that built the plan.
        log: of :func:`make_log`; a module has only one.
        device: the GPU.

    Raises:
        RepositoryError: the plan is of another version or GPU, or has other tensors than the contract says.
    """

    def __init__(self, path: Path, name: str, trt: Any, log: Any, device: Device) -> None:
        self._name, self._trt, self._log, self._device = name, trt, log, device
        # TensorRT-RTX begins with kernels for any shape and compiles those for the bound one meanwhile: only
        # it knows when there is something to record.
        self._records_itself = hasattr(trt, "CudaGraphStrategy")
        # TensorRT wants it to outlive the engine.
        self._runtime = trt.Runtime(log)
        # A version-compatible plan brings its runtime along: code, as a repository's model.py is.
        self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            version = f"{trt.__name__} {trt.__version__}"
            raise RepositoryError(f"{path}: {version} cannot load it: {self._log.reason()}")
        self._inputs = self._check_tensors(path)
        self._limits = [self._limits_of(profile) for profile in range(self._engine.num_optimization_profiles)]
        # By profile. Runs follow one another, so those of a profile share its scratch memory.
        self._scratch: dict[int, Memory] = {}
        self._unrepeated: dict[int, Any] = {}
        #: Of kernels that TensorRT-RTX has compiled for one of the contexts; has to outlive them.
        self._compiled: Any = None

    def bind(self, tensors: Mapping[str, Bound], *, repeated: bool) -> Run:
        """See :meth:`Program.bind`.

        Raises:
            InternalError: no profile of the plan holds the shapes, or TensorRT refuses them.
        """
        profile = self._profile(tensors)
        self._log.forget()
        # A recording holds on to its context's state.
        context = self._context(profile, repeated) if repeated else self._shared_context(profile)
        for name in self._inputs:
            self._require(context.set_input_shape(name, tensors[name].shape), f"the shape of {name}")
        for name, bound in tensors.items():
            self._require(context.set_tensor_address(name, bound.address), f"the address of {name}")

        def run() -> None:
            self._log.forget()
            self._require(context.execute_async_v3(self._device.stream), "a run")

        return _Repeated(run, self._device) if repeated and not self._records_itself else run

    def longest(self, name: str, shape: tuple[int, ...]) -> int | None:
        """See :meth:`Program.longest`; 0 if no profile has such shapes."""
        limits = [each[name] for each in self._limits]
        return max((most[0] for least, most in limits if _within(shape, least[1:], most[1:])), default=0)

    def _check_tensors(self, path: Path) -> tuple[str, ...]:
        """The inputs' names."""
        engine, graph = self._engine, GRAPHS[self._name]
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT]
        check_names(path, "inputs", inputs, graph.inputs)
        check_names(path, "outputs", [name for name in names if name not in inputs], graph.outputs)
        return tuple(inputs)

    def _limits_of(self, profile: int) -> _Limits:
        shapes = {name: self._engine.get_tensor_profile_shape(name, profile) for name in self._inputs}
        return {name: (tuple(least), tuple(most)) for name, (least, _, most) in shapes.items()}

    def _profile(self, tensors: Mapping[str, Bound]) -> int:
        """The first that holds the shapes: they go from the smallest to all."""
        for profile, limits in enumerate(self._limits):
            if all(_within(tensors[name].shape, *limits[name]) for name in self._inputs):
                return profile
        shapes = {name: tensors[name].shape for name in self._inputs}
        raise InternalError(f"{self._name}: got {shapes}, expected shapes within a profile of {self._limits}")

    def _shared_context(self, profile: int) -> Any:
        if profile not in self._unrepeated:
            self._unrepeated[profile] = self._context(profile, repeated=False)
        return self._unrepeated[profile]

    def _context(self, profile: int, repeated: bool) -> Any:
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if self._records_itself:
            self._compiled = self._compiled or config.create_runtime_cache()
            config.set_runtime_cache(self._compiled)
            if repeated:
                config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        context = self._engine.create_execution_context(config)
        self._require(context is not None, "a context")
        stream = self._device.stream
        self._require(context.set_optimization_profile_async(profile, stream), f"profile {profile}")
        if profile not in self._scratch:
            nbytes = self._engine.get_device_memory_size_for_profile_v2(profile)
            self._scratch[profile] = Memory(self._device.name, nbytes)
        scratch = self._scratch[profile]
        context.set_device_memory(scratch.address, scratch.nbytes)
        return context

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise InternalError(f"{self._name}: TensorRT refuses {what}: {self._log.reason()}")


class _Repeated:
    """A run that is recorded once TensorRT has done for its shapes what is done only once."""

    def __init__(self, run: Run, device: Device) -> None:
        self._run, self._device = run, device
        self._again: Run | None = None

    def __call__(self) -> None:
        if self._again:
            self._again()
            return
        self._run()
        try:
            self._again = self._device.record(self._run)
        except InternalError as error:
            logger.warning("a step goes on unrecorded: %s", error)
            self._again = self._run


def tensorrt_programs(
    directory: Path, device: Device, flavour: str, gpu: str
) -> tuple[TensorRtProgram, TensorRtProgram] | None:
    """The denoiser's ``step`` and ``control_embedding``; None if there are no plans for the GPU.

    Args:
        directory: where the plans lie.
        device: the GPU.
        flavour: the module that built them, of ``contract.PLAN_ENDINGS``.
        gpu: its compute capability, such as ``sm_90``.

    Raises:
        ServerStartError: the module is not installed.
        RepositoryError: see :class:`TensorRtProgram`.
    """
    step, control = (
        directory / Path(plan_file(name, gpu, flavour)).name for name in ("step", "control_embedding")
    )
    if not (step.is_file() and control.is_file()):
        return None
    try:
        trt = importlib.import_module(flavour)
    except ImportError as error:
        raise ServerStartError(
            f"plans: got {flavour}, which cannot be imported ({error}); expected the module that built "
            "the plans, or the parameter plans of denoiser/config.pbtxt set to none"
        ) from error
    log = make_log(trt)
    return (
        TensorRtProgram(step, "step", trt, log, device),
        TensorRtProgram(control, "control_embedding", trt, log, device),
    )


def make_log(trt: Any) -> Any:
    """A log for TensorRT's objects, which prints nothing: errors are ours to raise."""

    class Log(trt.ILogger):
        """As TensorRT wants it."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (self.ERROR, self.INTERNAL_ERROR) and len(self._errors) < _KEPT:
                self._errors.append(message)

        def reason(self) -> str:
            """The first error since they were last forgotten, rather one that is not CUDA's own.

            CUDA's follow every other on a machine that has no GPU.
            """
            lines = [line for message in self._errors for line in message.splitlines()]
            own = [line for line in lines if "cudaError" not in line]
            return next(iter(own + lines), "it gives no reason")

        def forget(self) -> None:
            self._errors.clear()

    return Log()


def _within(shape: tuple[int, ...], least: tuple[int, ...], most: tuple[int, ...]) -> bool:
    return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
