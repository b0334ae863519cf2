"""``tokenizer``: prompts to token ids, with the tokenizer that the checkpoint came with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from packshot.contract import TOKENIZER_FILE
from packshot_serving.adapters.tensors import AnsweringAdapter
from packshot_serving.requests import read_text


class TritonPythonModel(AnsweringAdapter):
    """Pads and truncates as ``tokenizer.json`` says, and counts what did not fit."""

    model = "tokenizer"

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load ``tokenizer.json``, once as it is and once without its limit, for counting."""
        super().initialize(args)
        path = Path(args["model_repository"], args["model_version"], Path(TOKENIZER_FILE).name)
        self.tokenizer = Tokenizer.from_file(str(path))
        self.unlimited = Tokenizer.from_file(str(path))
        self.unlimited.no_truncation()
        self.unlimited.no_padding()

    def answer(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs: ids of both prompts, and how many tokens of each were cut off."""
        prompts = [read_text(arrays, name) for name in ("prompt", "negative_prompt")]
        ids = [np.array(self.tokenizer.encode(prompt).ids, np.int64) for prompt in prompts]
        lengths = [len(self.unlimited.encode(prompt).ids) for prompt in prompts]
        truncated = [max(0, length - self.family.dims["T"]) for length in lengths]
        return {
            "input_ids": ids[0],
            "negative_input_ids": ids[1],
            "num_truncated_tokens": np.array(truncated, np.int32),
        }
