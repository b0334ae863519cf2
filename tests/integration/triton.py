"""The plainest possible caller: tritonclient and the contract, nothing of ours between."""

from __future__ import annotations

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

from packshot.contract import MODELS

CALL_TIMEOUT_S = 120.0


class Triton:
    """Calls served models with numpy arrays that lack the batch axis."""

    def __init__(self, address: str) -> None:
        self.client = InferenceServerClient(address)

    def infer(self, model: str, arrays: dict[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
        """Outputs by name. Raises tritonclient's InferenceServerException."""
        stacked = {name: array[None] for name, array in arrays.items()}
        return {name: array[0] for name, array in self.infer_batch(model, stacked, **options).items()}

    def infer_batch(
        self, model: str, arrays: dict[str, np.ndarray], **options: object
    ) -> dict[str, np.ndarray]:
        """The same with the batch axis."""
        inputs = []
        for name, array in arrays.items():
            tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        result = self.client.infer(model, inputs, **{"client_timeout": CALL_TIMEOUT_S, **options})
        return {tensor.name: np.asarray(result.as_numpy(tensor.name)) for tensor in MODELS[model].outputs}

    def executions(self, model: str) -> int:
        """How many requests a model worked on itself; answers from the response cache do not count."""
        return self.client.get_inference_statistics(model).model_stats[0].inference_count
