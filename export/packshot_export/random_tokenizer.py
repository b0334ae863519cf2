"""A CLIP tokenizer with a byte-level alphabet and a few merges: every text has ids, nothing is downloaded."""

from __future__ import annotations

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

_WORD_END = "</w>"
#: Enough merges that common prompts are made of more than single bytes.
_WORDS = ("a", "photo", "of", "the", "on", "table", "white", "marble", "product", "studio", "light", "wooden")


def make_tokenizer(pad_token: str, model_max_length: int = 77) -> CLIPTokenizer:
    """A tokenizer as CLIP's, with a small vocabulary.

    Args:
        pad_token: ``!`` as Stable Diffusion 2, or ``<|endoftext|>`` as Stable Diffusion 1.5.
        model_max_length: ids of a prompt, the two special tokens included.
    """
    alphabet = list(bytes_to_unicode().values())
    merges = _merges(_WORDS)
    # In CLIP's order: bytes, bytes that end a word, merges, special tokens. "!" has id 0.
    tokens = [*alphabet, *(byte + _WORD_END for byte in alphabet), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad_token, model_max_length=model_max_length)


def _merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Merges that build each word from its left, a letter at a time."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        letters = [*word[:-1], word[-1] + _WORD_END]
        left = letters[0]
        for letter in letters[1:]:
            merges[left, letter] = None
            left += letter
    return list(merges)
