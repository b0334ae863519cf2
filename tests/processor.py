"""What the processor under the tests can do."""

from __future__ import annotations

from packshot_serving.engine.openvino_runner import capabilities

HAS_BF16 = "BF16" in capabilities()
