"""What the machine can do at most: large products in fp32, by each library that computes here.

Libraries differ by factors, and settings and processors decide which is best: what a subject could have
reached is what its own library does, and the machine's rate is the best of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

_SIDE, _TIMES = 2048, 5


@cache
def matrix_rates_flops() -> Mapping[str, float]:
    """FLOP a second by library: the best of a few products, measured once."""
    import torch  # here, as it takes seconds

    random = np.random.default_rng(0)
    one, two = (random.random((_SIDE, _SIDE), np.float32) for _ in range(2))
    tensors = torch.from_numpy(one), torch.from_numpy(two)
    session = _product_session()
    return {
        "numpy": _rate(lambda: np.matmul(one, two)),
        "onnxruntime": _rate(lambda: session.run(None, {"one": one, "two": two})),
        "torch": _rate(lambda: torch.matmul(*tensors)),
    }


def matrix_rate_flops() -> float:
    """FLOP a second of the machine."""
    return max(matrix_rates_flops().values())


def _rate(product: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        product()
        times.append(time.perf_counter() - began)
    return 2 * _SIDE**3 / min(times)


def _product_session() -> Any:
    import onnx
    import onnxruntime

    one, two, product = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [_SIDE, _SIDE])
        for name in ("one", "two", "product")
    )
    node = onnx.helper.make_node("MatMul", ["one", "two"], ["product"])
    graph = onnx.helper.make_graph([node], "product", [one, two], [product])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
