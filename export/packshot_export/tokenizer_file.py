"""``tokenizer.json`` as the server reads it: padding and truncation inside."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from packshot.errors import ExportError

#: Prompts on which the file must agree with transformers: empty, long, many scripts, special tokens.
PROBES = (
    "",
    "a photo of the product on a white marble table",
    "A  Cup,\n studio-light; 35mm f/1.8 (masterpiece:1.2)!",
    "naïve café, 写真, 🫖, Ärger",
    "wooden " * 200,
    "<|endoftext|> a <|startoftext|> !",
)


def write_tokenizer(tokenizer: CLIPTokenizer, path: Path) -> None:
    """Write the file of the ``tokenizers`` library, and read it back to prove it.

    Its ids equal ``tokenizer(prompt, padding="max_length", truncation=True)``.

    Raises:
        ExportError: the ids of a probe differ.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    length = tokenizer.model_max_length
    backend.enable_truncation(max_length=length)
    backend.enable_padding(length=length, pad_id=tokenizer.pad_token_id, pad_token=str(tokenizer.pad_token))
    path.parent.mkdir(parents=True, exist_ok=True)
    backend.save(str(path))
    written = Tokenizer.from_file(str(path))
    for probe in PROBES:
        expected = tokenizer(probe, padding="max_length", truncation=True).input_ids
        found = written.encode(probe).ids
        if found != expected:
            place = next(i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b)
            ids = f"id {place} is {found[place]}, transformers says {expected[place]}"
            raise ExportError(f"tokenizer: {probe[:30]!r}: {ids}")
