"""A real gRPC server with KServe's own stubs that answers as a test tells it to, well or badly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as generated
from tritonclient.grpc import service_pb2_grpc

from packshot.contract import MODELS
from packshot.family import Canvas, Family

DIMS = {"C": 4, "T": 7, "D": 8, "K": 1, "G": 4, "S": 64, "s": 4, "E": 8, "4s": 16}
FAMILY = Family("fake", "fp32", DIMS, Canvas(8, 64, 256), {})

#: Type checkers cannot see into generated code.
service_pb2: Any = generated

#: Answers one call: inputs without batch axis → outputs without batch axis.
Model = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]

_DTYPES = {"UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32}


class Status(Exception):
    """Raised by a test's model: what the server is to answer instead."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Counts the calls, and the most there were at a time."""

    def __init__(self, family: str | None = None, port: int = 0, artifacts: str = "") -> None:
        self.artifacts = artifacts
        self.family = FAMILY.to_json() if family is None else family
        self.models: dict[str, Model] = {
            "generate": paint_seed, "segment": whole_photo, "vae_encoder": every_eighth_pixel,
        }  # fmt: skip
        self.calls: list[tuple[str, dict[str, np.ndarray]]] = []
        self.cancelled = threading.Event()
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"

    def __enter__(self) -> FakeTriton:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End at once, in the middle of calls."""
        self._server.stop(grace=None).wait()

    def arrays(self, model: str) -> list[dict[str, np.ndarray]]:
        """The inputs of all calls of a model."""
        return [arrays for name, arrays in self.calls if name == model]

    def ModelConfig(self, request, context):
        response = service_pb2.ModelConfigResponse()
        response.config.name = request.name
        response.config.parameters["family"].string_value = self.family
        response.config.parameters["artifacts"].string_value = self.artifacts
        return response

    def ModelInfer(self, request, context):
        context.add_callback(lambda: None if context.code() else self.cancelled.set())
        arrays = _read(request)
        with self._lock:
            self.calls.append((request.model_name, arrays))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return _written(request.model_name, self.models[request.model_name](arrays))
        except Status as status:
            context.abort(status.code, status.message)
        finally:
            with self._lock:
                self._at_once -= 1

    def ModelStreamInfer(self, request_iterator, context):
        """``generate_stream`` asks ``generate``, as the real one does, and reports two steps before."""
        for request in request_iterator:
            request.model_name = "generate"
            picture = self.ModelInfer(request, context)
            for step in range(2):
                progress = {"queue_position": 0, "step": step, "num_steps": 2}
                outputs = {name: np.array([number], np.int32) for name, number in progress.items()}
                yield _streamed(_written("generate_stream", outputs))
            yield _streamed(picture)


def paint_seed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A picture in one colour, that of the seed."""
    colour = np.uint8(arrays["seed"].item() % 256)
    return {
        "generated_image": np.full(arrays["image"].shape, colour),
        "num_truncated_tokens": np.zeros(2, np.int32),
    }


def every_eighth_pixel(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Latents that tell what was encoded: red, green and blue, and the mask."""
    seen = np.dstack([arrays["image"], arrays["mask_image"]])[::8, ::8].astype(np.float32)
    return {"masked_image_latents": np.moveaxis(seen, -1, 0).copy(), "mask_latents": seen[None, ..., 3]}


def whole_photo(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Three masks that grow: the left quarter, half, and three quarters; the second is the best."""
    masks = np.full((3, 16, 16), -1.0, np.float32)
    for rank in range(3):
        masks[rank, :, : 4 * (rank + 1)] = 1
    return {"low_res_masks": masks, "iou_predictions": np.array([0.5, 0.9, 0.7], np.float32)}


def failing(times: int, code: grpc.StatusCode, message: str, then: Model) -> Model:
    """A model that fails some times before it answers."""
    left = [times]

    def model(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if left[0] > 0:
            left[0] -= 1
            raise Status(code, message)
        return then(arrays)

    return model


def slow(seconds: float, then: Model) -> Model:
    """A model that takes its time."""

    def model(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        time.sleep(seconds)
        return then(arrays)

    return model


def _streamed(response: Any) -> Any:
    return service_pb2.ModelStreamInferResponse(infer_response=response)


def _read(request: Any) -> dict[str, np.ndarray]:
    arrays = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if tensor.datatype == "BYTES":
            arrays[tensor.name] = np.array([raw[4:]], np.object_)
        else:
            arrays[tensor.name] = np.frombuffer(raw, _DTYPES[tensor.datatype]).reshape(tensor.shape)[0]
    return arrays


def _written(model: str, outputs: dict[str, np.ndarray]) -> Any:
    response = service_pb2.ModelInferResponse(model_name=model)
    for tensor in MODELS[model].outputs:
        if tensor.name not in outputs:
            continue
        array = outputs[tensor.name]
        response.outputs.add(name=tensor.name, datatype=tensor.dtype, shape=[1, *array.shape])
        response.raw_output_contents.append(array.tobytes())
    return response
