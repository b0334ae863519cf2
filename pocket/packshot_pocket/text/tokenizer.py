"""CLIP's own tokenizer, from its merges."""

from __future__ import annotations

import gzip
from importlib import resources

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

MAX_LENGTH = 77
_WORD_END = "</w>"


def make_tokenizer() -> CLIPTokenizer:
    """The tokenizer with CLIP's 49,408 ids; what is short is filled up with the end token."""
    packed = resources.files("packshot_pocket.text").joinpath("clip", "merges.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").splitlines()
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    # In CLIP's order: bytes, bytes that end a word, merges, special tokens.
    alphabet = list(bytes_to_unicode().values())
    tokens = [*alphabet, *(byte + _WORD_END for byte in alphabet), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token="<|endoftext|>", model_max_length=MAX_LENGTH)


def token_ids(tokenizer: CLIPTokenizer, prompts: list[str]) -> list[list[int]]:
    """Ids of every prompt, ``MAX_LENGTH`` each."""
    return tokenizer(prompts, padding="max_length", truncation=True, max_length=MAX_LENGTH).input_ids
