"""The memory that a runner computes in, the host's or a GPU's: allocate, copy, wait.

A GPU is driven through ONNX Runtime and the one CUDA library that it loads anyway, ``libcudart``, so
that serving needs no further package.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import onnxruntime

from packshot.errors import InternalError, ServerStartError

DeviceName = Literal["cpu", "cuda"]

#: Of every tensor in a block, in bytes: what CUDA's own allocations have.
ALIGNMENT = 256

_PROVIDERS: dict[DeviceName, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
#: An execution provider of ONNX Runtime and its options.
Provider = tuple[str, dict[str, str]]
CPU_PROVIDERS: tuple[Provider, ...] = (("CPUExecutionProvider", {}),)
#: What a graph has in fp32 is meant so; ONNX Runtime would round products' factors to TF32's 10 bits.
PRECISE = {"use_tf32": "0"}
#: Flash or memory-efficient kernels: ONNX Runtime 1.31 plans cuDNN's anew while a step is being recorded.
_ATTENTION = {"sdpa_kernel": str(1 | 2)}
#: Of a GPU's free memory, what a session may take for its weights and the largest step.
_SHARE = 0.6


def cuda_providers(gpu: str = "0", **options: str) -> tuple[Provider, ...]:
    """Sessions on a GPU. What CUDA cannot compute falls to the CPU, shapes above all.

    Args:
        gpu: CUDA's number of it.
        options: further ones of the provider.
    """
    return ("CUDAExecutionProvider", {"device_id": gpu, **PRECISE, **_ATTENTION, **options}), *CPU_PROVIDERS


class Memory:
    """Bytes on a device, freed with this object.

    Attributes:
        address: of the first byte, as a device pointer.
        nbytes: how many.
    """

    def __init__(self, device: DeviceName, nbytes: int) -> None:
        self.nbytes = nbytes
        # The allocator of ONNX Runtime keeps what is freed, so that this costs no call of the driver.
        self._value = onnxruntime.OrtValue.ortvalue_from_shape_and_type([max(nbytes, 1)], np.uint8, device, 0)
        self.address: int = self._value.data_ptr()


@dataclass(frozen=True, slots=True)
class Rows:
    """Equal pieces of memory at equal distances.

    Attributes:
        address: of the first.
        stride: bytes from one to the next.
    """

    address: int
    stride: int


class Device(Protocol):
    """Where tensors are. Copies and runs happen in the order in which they are asked for."""

    @property
    def name(self) -> DeviceName:
        """As ONNX Runtime calls it."""
        ...

    @property
    def stream(self) -> int:
        """The CUDA stream that keeps the order; 0 on the host."""
        ...

    def providers(self, graphs: bool) -> Sequence[Provider]:
        """ONNX Runtime's execution providers for a session whose runs are to be in that order.

        Args:
            graphs: record each run once and play it back: inputs and outputs stay where they are.
        """
        ...

    def staging(self, nbytes: int) -> np.ndarray:
        """Host memory, uint8 [nbytes], that copies are quick from and to."""
        ...

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy between any two addresses, here or there; may return before it is done."""
        ...

    def copy_rows(self, target: Rows, source: Rows, nbytes: int, count: int) -> None:
        """Copy ``nbytes`` of each of ``count`` rows; may return before it is done."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Play back what some work asks the device for, without its calls.

        Args:
            work: has run before, and allocates nothing on the device. It is called, but not carried out.

        Returns:
            Asks for all of it; may return before it is done.
        """
        ...

    def wait(self) -> None:
        """Return when everything that was asked for is done."""
        ...


class HostDevice:
    """The host: nothing is asynchronous."""

    name: DeviceName = "cpu"
    stream = 0

    def providers(self, graphs: bool) -> Sequence[Provider]:
        """See :meth:`Device.providers`."""
        return CPU_PROVIDERS

    def staging(self, nbytes: int) -> np.ndarray:
        """See :meth:`Device.staging`."""
        return np.empty(nbytes, np.uint8)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """See :meth:`Device.copy`."""
        ctypes.memmove(target, source, nbytes)

    def copy_rows(self, target: Rows, source: Rows, nbytes: int, count: int) -> None:
        """See :meth:`Device.copy_rows`."""
        for row in range(count):
            ctypes.memmove(target.address + row * target.stride, source.address + row * source.stride, nbytes)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See :meth:`Device.record`."""
        return work

    def wait(self) -> None:
        """See :meth:`Device.wait`."""


class CudaDevice:
    """The first GPU that CUDA shows, with one stream for copies and runs.

    Attributes:
        gpu: its compute capability, such as ``sm_90``.

    Raises:
        ServerStartError: there is no ONNX Runtime for CUDA, no CUDA library, or no GPU.
    """

    name: DeviceName = "cuda"

    _DEFAULT = 4  # cudaMemcpyDefault: the addresses say which way
    _NON_BLOCKING = 1  # cudaStreamNonBlocking: does not wait for the legacy stream
    _THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal: other threads may do as they like
    _CAPABILITY = (75, 76)  # cudaDevAttrComputeCapabilityMajor, cudaDevAttrComputeCapabilityMinor

    def __init__(self) -> None:
        require_provider(self.name)
        self._cuda = _load_cudart()
        self._cuda.cudaGetErrorString.restype = ctypes.c_char_p
        self._stream = ctypes.c_void_p()
        try:
            self._call(
                "cudaStreamCreateWithFlags", ctypes.byref(self._stream), ctypes.c_uint(self._NON_BLOCKING)
            )
            self.gpu = "sm_" + "".join(str(self._attribute(number)) for number in self._CAPABILITY)
        except InternalError as error:
            raise ServerStartError(f"device cuda: {error}") from error

    @property
    def stream(self) -> int:
        """See :attr:`Device.stream`."""
        return self._stream.value or 0

    def providers(self, graphs: bool) -> Sequence[Provider]:
        """See :meth:`Device.providers`."""
        return cuda_providers(
            # Else measuring the largest steps would take, and keep, what the other models need.
            gpu_mem_limit=str(int(self._free_bytes() * _SHARE)),
            user_compute_stream=str(self.stream),
            enable_cuda_graph="1" if graphs else "0",
            cudnn_conv_use_max_workspace="1",
        )

    def staging(self, nbytes: int) -> np.ndarray:
        """See :meth:`Device.staging`. Page-locked, and kept for the process' life."""
        pointer = ctypes.c_void_p()
        self._call("cudaMallocHost", ctypes.byref(pointer), ctypes.c_size_t(nbytes))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(pointer.value or 0))

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """See :meth:`Device.copy`. From pageable memory it returns when that may be reused."""
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(nbytes),
            ctypes.c_int(self._DEFAULT),
            self._stream,
        )

    def copy_rows(self, target: Rows, source: Rows, nbytes: int, count: int) -> None:
        """See :meth:`Device.copy_rows`."""
        self._call(
            "cudaMemcpy2DAsync",
            ctypes.c_void_p(target.address),
            ctypes.c_size_t(target.stride),
            ctypes.c_void_p(source.address),
            ctypes.c_size_t(source.stride),
            ctypes.c_size_t(nbytes),
            ctypes.c_size_t(count),
            ctypes.c_int(self._DEFAULT),
            self._stream,
        )

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See :meth:`Device.record`. The recording is kept for the process' life."""
        graph, recording = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cudaStreamBeginCapture", self._stream, ctypes.c_int(self._THREAD_LOCAL))
        try:
            work()
        finally:  # or the stream would stay closed to everything else
            self._call("cudaStreamEndCapture", self._stream, ctypes.byref(graph))
        self._call("cudaGraphInstantiate", ctypes.byref(recording), graph, ctypes.c_ulonglong(0))
        self._call("cudaGraphDestroy", graph)
        return lambda: self._call("cudaGraphLaunch", recording, self._stream)

    def wait(self) -> None:
        """See :meth:`Device.wait`."""
        self._call("cudaStreamSynchronize", self._stream)

    def _free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cudaDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), ctypes.c_int(0))
        return value.value

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._cuda, function)(*arguments)
        if status:
            reason = self._cuda.cudaGetErrorString(status).decode()
            raise InternalError(f"{function}: got CUDA error {status} ({reason}), expected success")


def require_provider(device: DeviceName) -> None:
    """Refuse a device that this installation of ONNX Runtime was not built for.

    Raises:
        ServerStartError: its execution provider is not there.
    """
    found, wanted = onnxruntime.get_available_providers(), _PROVIDERS[device]
    if wanted not in found:
        raise ServerStartError(
            f"device {device}: got an onnxruntime with {', '.join(found)}, expected one with {wanted}; "
            "replace it: pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]>=1.27'"
        )


def require_in_use(session: onnxruntime.InferenceSession, provider: str) -> None:
    """Refuse a session that has silently fallen back to another provider, as ONNX Runtime's do.

    Raises:
        ServerStartError: the provider is not the session's first.
    """
    found = session.get_providers()
    if found[0] != provider:
        raise ServerStartError(
            f"onnxruntime: got a session on {found[0]}, expected {provider}; its libraries could not be "
            "loaded, and its warning above says which"
        )


def _load_cudart() -> ctypes.CDLL:
    # Finds the libraries in NVIDIA's wheels, if they are how CUDA came here.
    onnxruntime.preload_dlls()
    names = ("libcudart.so.13", "libcudart.so.12")
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise ServerStartError(f"device cuda: got no CUDA runtime library, expected {' or '.join(names)}")
