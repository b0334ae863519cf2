"""Between Triton's requests and numpy, by the contract; errors to Triton's codes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from packshot.contract import MODELS
from packshot.errors import InternalError, PackshotError
from packshot.family import Family
from packshot_serving.own_server import end_with_server
from packshot_serving.requests import missing

log = logging.getLogger("packshot")


class Adapter:
    """What every Python model of packshot shares: its family, and inputs by the contract."""

    model: str

    def initialize(self, args: Mapping[str, str]) -> None:
        """Called by Triton once, with the model's config as JSON."""
        logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        logging.getLogger("packshot_serving").setLevel(logging.INFO)
        self.parameters = {
            name: value["string_value"]
            for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        self.family = Family.from_json(self.parameters["family"])
        end_with_server()

    def read(self, request: Any) -> dict[str, np.ndarray]:
        """The request's tensors by name, without the batch axis; what was left out is missing.

        The arrays are Triton's memory: it takes them back when ``execute`` returns.

        Raises:
            InvalidArgument: one is missing that may not be; Triton only counts them.
        """
        arrays = {}
        for tensor in MODELS[self.model].inputs:
            given = pb_utils.get_input_tensor_by_name(request, tensor.name)
            if given is not None:
                arrays[tensor.name] = given.as_numpy()[0]
            elif not tensor.optional:
                raise missing(self.model, tensor)
        return arrays


class AnsweringAdapter(Adapter):
    """A model that answers each request at once."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with what :meth:`answer` makes of its arrays."""
        return [self._respond(request) for request in requests]

    def answer(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """From the inputs to the outputs, both without the batch axis."""
        raise TypeError(f"{type(self).__name__} has no answer")

    def _respond(self, request: Any) -> Any:
        return response(self.model, request.request_id(), lambda: self.answer(self.read(request)))


def response(model: str, request_id: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> Any:
    """The response with the arrays that ``compute`` returns, or with the error that it raises."""
    try:
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, array[None]) for name, array in compute().items()]
        )
    except PackshotError as error:
        return _failure(error)
    except Exception:
        log.exception("%s: request %s failed", model, request_id or "without an id")
        return _failure(InternalError(f"{model}: failed; the server's log has the reason"))


def _failure(error: PackshotError) -> Any:
    # Looked up here because the stub fills pb_utils in only after this module was imported.
    codes = {
        "INVALID_ARGUMENT": pb_utils.TritonError.INVALID_ARG,
        "UNAVAILABLE": pb_utils.TritonError.UNAVAILABLE,
        "CANCELLED": pb_utils.TritonError.CANCELLED,
    }
    code = codes.get(error.code, pb_utils.TritonError.INTERNAL)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))
