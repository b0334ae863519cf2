"""``tokenizer.json`` gives the ids that transformers gives, without transformers."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from packshot.contract import TOKENIZER_FILE
from packshot.errors import ExportError
from packshot_export.tokenizer_file import PROBES, write_tokenizer

PROMPTS = (*PROBES, "!", "!!! sale !!!", "it's the studio's light", "\t\n ", "x" * 500)


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: repr(prompt[:20]))
def test_ids_equal_those_of_transformers(family, prompt):
    checkpoints, repository = family
    original = CLIPTokenizer.from_pretrained(checkpoints / "diffusion" / "tokenizer")
    served = Tokenizer.from_file(str(repository / TOKENIZER_FILE))
    ids = original(prompt, padding="max_length", truncation=True).input_ids
    assert served.encode(prompt).ids == ids
    assert len(ids) == 77


def test_the_checkpoints_pad_as_stable_diffusion_does(family):
    checkpoints, repository = family
    last = Tokenizer.from_file(str(repository / TOKENIZER_FILE)).encode("").tokens[-1]
    assert last == ("!" if checkpoints.parent.name.startswith("tiny-sd2") else "<|endoftext|>")


def test_a_file_that_gives_other_ids_is_refused(checkpoints, tmp_path):
    tokenizer = CLIPTokenizer.from_pretrained(checkpoints / "diffusion" / "tokenizer")

    class Liar:
        backend_tokenizer = tokenizer.backend_tokenizer
        model_max_length, pad_token_id, pad_token = 77, 5, tokenizer.pad_token

        def __call__(self, *arguments, **named):
            return tokenizer(*arguments, **named)

    with pytest.raises(ExportError, match=r"tokenizer: '': id 2 is 5, transformers says 0"):
        write_tokenizer(Liar(), tmp_path / "tokenizer.json")
