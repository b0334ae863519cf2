"""The memory that runners compute in: the host's, and a GPU's if there is one."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from packshot.errors import ServerStartError
from packshot_serving.engine.device import CudaDevice, Memory


def test_what_is_recorded_is_played_back_on_what_the_memory_holds_then(device):
    source, target = Memory(device.name, 4), Memory(device.name, 4)
    sent, found = np.zeros(4, np.uint8), np.zeros(4, np.uint8)

    def work():
        device.copy(target.address, source.address, 4)

    work()
    again = device.record(work)
    for value in (1, 2):
        sent[:] = value
        device.copy(source.address, sent.ctypes.data, 4)
        again()
        device.copy(found.ctypes.data, target.address, 4)
        device.wait()
        np.testing.assert_array_equal(found, sent)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_without_cuda_in_onnxruntime_the_reason_is_one_sentence():
    with pytest.raises(ServerStartError, match=r"device cuda: got an onnxruntime with .* 'onnxruntime-gpu"):
        CudaDevice()
