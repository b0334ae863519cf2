"""The plainest possible caller: tritonclient and the contract, nothing of ours between."""

from __future__ import annotations

import queue

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferResult
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

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
        limits = {"client_timeout": CALL_TIMEOUT_S, **options}
        result = self.client.infer(model, _inputs(arrays), **limits)
        return {tensor.name: np.asarray(result.as_numpy(tensor.name)) for tensor in MODELS[model].outputs}

    def first_of_stream(self, model: str, arrays: dict[str, np.ndarray]) -> InferResult:
        """The first response of a stream. Raises tritonclient's InferenceServerException."""
        answers: queue.Queue[InferResult | InferenceServerException] = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put(error or result))
        try:
            inputs = _inputs({name: array[None] for name, array in arrays.items()})
            self.client.async_stream_infer(model, inputs)
            answer = answers.get(timeout=CALL_TIMEOUT_S)
        finally:
            self.client.stop_stream()
        if isinstance(answer, InferenceServerException):
            raise answer
        return answer

    def executions(self, model: str) -> int:
        """How many requests a model worked on itself; answers from the response cache do not count."""
        return self.client.get_inference_statistics(model).model_stats[0].inference_count


def _inputs(arrays: dict[str, np.ndarray]) -> list[InferInput]:
    inputs = []
    for name, array in arrays.items():
        inputs.append(InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    return inputs
