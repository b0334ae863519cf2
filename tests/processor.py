"""What the processor under the tests can do."""

from __future__ import annotations

import openvino

HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
