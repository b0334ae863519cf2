"""``check_inputs``: the first step of ``generate``; everything else waits for its outputs."""

from __future__ import annotations

import numpy as np

from packshot_serving.adapters.tensors import AnsweringAdapter
from packshot_serving.requests import check_generate, read_text


class TritonPythonModel(AnsweringAdapter):
    """Hands prompts and mask on only if the whole request is right."""

    model = "check_inputs"

    def answer(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs: the prompts, the negative one filled in, and the mask unchanged."""
        check_generate(arrays, self.family)
        texts = {
            name: np.array([read_text(arrays, name).encode()], np.object_)
            for name in ("prompt", "negative_prompt")
        }
        return {**texts, "mask_image": arrays["mask_image"]}
