"""ONNX Runtime for a tritonserver that has the Python backend only.

NVIDIA's container brings a native ``onnxruntime`` backend. The server in the nvidia-pytriton wheel
does not, but it lets a Python-based backend take the name: with this file in
``backends/onnxruntime/`` the same repository, with ``backend: "onnxruntime"``, loads on both.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from packshot_serving.engine.device import CPU_PROVIDERS, cuda_providers, require_in_use, require_provider
from packshot_serving.engine.sessions import session_options

log = logging.getLogger("packshot")


class TritonPythonModel:
    """One model: stacks the requests that Triton batched, runs the graph once, splits the answer."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load ``<repository>/<version>/<default_model_filename>``."""
        config = json.loads(args["model_config"])
        self.name = config["name"]
        self.outputs = [output["name"] for output in config["output"]]
        providers = CPU_PROVIDERS
        if args["model_instance_kind"] == "GPU":
            require_provider("cuda")
            onnxruntime.preload_dlls()
            providers = cuda_providers(args["model_instance_device_id"])
        self.session = onnxruntime.InferenceSession(
            os.path.join(args["model_repository"], args["model_version"], config["default_model_filename"]),
            session_options(providers),
            providers=list(providers),
        )
        require_in_use(self.session, providers[0][0])
        self.inputs = [node.name for node in self.session.get_inputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request of a batch; Triton batches only requests of equal shapes."""
        try:
            return self._run(requests)
        except Exception:
            if len(requests) > 1:
                # One may be to blame, or all together for want of memory.
                log.warning("%s: a batch of %d failed; one by one now", self.name, len(requests))
                return [response for request in requests for response in self.execute([request])]
            # Left alone, the Python backend would send the traceback to the caller.
            log.exception("%s: a request failed", self.name)
            # One error object for the responses of a batch crashes Triton 2.51.
            error = pb_utils.TritonError(f"{self.name}: failed; the server's log has the reason")
            return [pb_utils.InferenceResponse(error=error)]

    def _run(self, requests: list[Any]) -> list[Any]:
        given = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            for request in requests
        ]
        feed = {name: np.concatenate([arrays[name] for arrays in given]) for name in self.inputs}
        results = [np.asarray(result) for result in self.session.run(self.outputs, feed)]
        ends = np.cumsum([len(arrays[self.inputs[0]]) for arrays in given])[:-1]
        parts = zip(*(np.split(result, ends) for result in results), strict=True)
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, part) for name, part in zip(self.outputs, answer, strict=True)]
            )
            for answer in parts
        ]
