"""Whether a tritonserver that starts on this machine is up."""

from __future__ import annotations

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from packshot.contract import MODELS

#: Seconds between two looks.
POLL_S = 0.1
#: Seconds for one answer; a server that accepts calls and gives none is not up.
_ANSWER_S = 5.0
#: Of a connection to it.
CHANNEL_OPTIONS = [
    # A proxy could only get in the way.
    ("grpc.enable_http_proxy", 0),
    # gRPC's own pauses between attempts grow from one second: a server would be up for two, and not found.
    *((f"grpc.{which}_reconnect_backoff_ms", round(POLL_S * 1000)) for which in ("initial", "min", "max")),
]


def all_ready(triton: service_pb2_grpc.GRPCInferenceServiceStub) -> bool:
    """Whether the server answers, and each of packshot's models could."""
    try:
        if not triton.ServerReady(service_pb2.ServerReadyRequest(), timeout=_ANSWER_S).ready:
            return False
        asked = (service_pb2.ModelReadyRequest(name=name) for name in MODELS)
        return all(triton.ModelReady(each, timeout=_ANSWER_S).ready for each in asked)
    except grpc.RpcError:
        return False
