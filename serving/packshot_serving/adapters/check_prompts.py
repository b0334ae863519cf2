"""``check_prompts``: the first step of ``segment``; the encoder waits for its output."""

from __future__ import annotations

import numpy as np

from packshot_serving.adapters.tensors import AnsweringAdapter
from packshot_serving.requests import check_prompts


class TritonPythonModel(AnsweringAdapter):
    """Hands the photo's size on only if the prompt is right."""

    model = "check_prompts"

    def answer(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output: the size unchanged."""
        check_prompts(arrays, self.family)
        return {"reshaped_input_size": arrays["reshaped_input_size"]}
