"""As much of TensorRT's API as a :class:`TensorRtProgram` uses, computing with ONNX Runtime on the host.

A "plan" of it is JSON: the graph's path, and the shapes of its profiles.
"""

from __future__ import annotations

import ctypes
import json
from enum import Enum

import numpy as np
import onnxruntime

__version__ = "0"

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}


class TensorIOMode(Enum):
    """Of a tensor."""

    INPUT = 0
    OUTPUT = 1


class ExecutionContextAllocationStrategy(Enum):
    """Who brings the scratch memory."""

    USER_MANAGED = 2


class ILogger:
    """What TensorRT tells."""

    ERROR, INTERNAL_ERROR = "error", "internal error"


class Runtime:
    """Opens plans."""

    engine_host_code_allowed = False

    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, plan):
        try:
            told = json.loads(plan)
        except ValueError:
            self._logger.log(ILogger.ERROR, "cudaErrorNoDevice\nno plan")
            return None
        return Engine(told["graph"], told["profiles"], self._logger)


class Engine:
    """A plan that is open."""

    def __init__(self, graph, profiles, logger):
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self._inputs = [node.name for node in self.session.get_inputs()]
        self._names = self._inputs + [node.name for node in self.session.get_outputs()]
        self._profiles, self.logger, self.contexts = profiles, logger, []

    @property
    def num_io_tensors(self):
        return len(self._names)

    @property
    def num_optimization_profiles(self):
        return len(self._profiles)

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_profile_shape(self, name, profile):
        return self._profiles[profile][name]

    def get_device_memory_size_for_profile_v2(self, profile):
        return 256 * (profile + 1)

    def create_runtime_config(self):
        return RuntimeConfig()

    def create_execution_context(self, runtime_config):
        self.contexts.append(ExecutionContext(self, runtime_config))
        return self.contexts[-1]


class RuntimeConfig:
    """How a context is to be."""

    cuda_graph_strategy = None

    def create_runtime_cache(self):
        return object()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True

    def set_execution_context_allocation_strategy(self, strategy):
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED


class ExecutionContext:
    """Shapes and addresses, and runs on them."""

    def __init__(self, engine, config):
        self._engine, self._profile, self._scratch = engine, None, None
        self._shapes, self._addresses = {}, {}
        self.config, self.runs = config, 0

    def set_optimization_profile_async(self, profile, stream):
        self._profile = profile
        return True

    def set_device_memory(self, address, nbytes):
        assert nbytes >= self._engine.get_device_memory_size_for_profile_v2(self._profile)
        self._scratch = address

    def set_input_shape(self, name, shape):
        least, _, most = self._engine.get_tensor_profile_shape(name, self._profile)
        self._shapes[name] = shape
        fits = all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
        if not fits:
            self._engine.logger.log(ILogger.ERROR, f"{name} has {shape}")
        return fits

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert self._scratch, "no scratch memory"
        self.runs += 1
        session = self._engine.session
        feed = {
            node.name: _array(self._addresses[node.name], self._shapes[node.name], _DTYPES[node.type])
            for node in session.get_inputs()
        }
        for node, found in zip(session.get_outputs(), session.run(None, feed), strict=True):
            _array(self._addresses[node.name], found.shape, found.dtype)[...] = found
        return True


def _array(address, shape, dtype):
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_uint8 * nbytes).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)
