"""The text encoder, and what becomes of words that no caption has."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from packshot_pocket.text.tokenizer import MAX_LENGTH


@dataclass(frozen=True, slots=True)
class TextSpec:
    """Sizes of the text encoder.

    Attributes:
        width: of the prompt embeddings. The table of CLIP's 49,408 tokens is this wide, and most of
            the encoder.
    """

    width: int = 64
    layers: int = 4
    heads: int = 4


def make_text_encoder(spec: TextSpec, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A fresh text encoder."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.width,
        intermediate_size=4 * spec.width,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=1.0,
    )
    return CLIPTextModel(config)


class Vocabulary:
    """The tokens that captions are made of. All others share one embedding.

    Nothing can be learned about a word that is never read. So that it does no harm either, the row of
    one unused token is trained to mean "some word", and is given to every unused token in the end.

    Args:
        ids: int64, of all captions.
        size: of the tokenizer's vocabulary.
    """

    def __init__(self, ids: Tensor, size: int) -> None:
        self.known = torch.zeros(size, dtype=torch.bool)
        self.known[ids.unique().cpu()] = True
        self.unknown = int(torch.nonzero(~self.known)[0, 0])

    def sprinkle(self, ids: Tensor, share: float, generator: torch.Generator, end: int) -> Tensor:
        """Insert an unknown word into some captions.

        Args:
            ids: int64 [B, T].
            share: of the captions that get one.
            end: id that ends and fills up a caption.

        Returns:
            int64 [B, T].
        """
        count, length = ids.shape
        throw = torch.rand((count, 2), generator=generator, device=ids.device)
        words = (ids != end).sum(dim=1)  # with the start token
        at = 1 + (throw[:, 1] * words).long().clamp(max=length - 3)
        at = torch.where(throw[:, 0] < share, at, length)[:, None]
        place = torch.arange(length, device=ids.device)[None]
        moved = torch.cat([ids[:, :1], ids[:, :-1]], dim=1)
        result = torch.where(place < at, ids, moved)
        result[:, -1] = end
        return torch.where(place == at, self.unknown, result)

    @torch.no_grad()
    def settle(self, text_encoder: CLIPTextModel) -> None:
        """Give every unused token the embedding of "some word"."""
        table = text_encoder.get_input_embeddings().weight
        table[~self.known.to(table.device)] = table[self.unknown].clone()
