"""What ``transformers.CLIPTextModel`` answers, asked as diffusers asks it."""

from __future__ import annotations

from collections.abc import Iterator

from transformers import CLIPTextModel, CLIPTokenizer

from packshot_export.cases import Case
from packshot_export.tokenizer_file import PROBES


def text_encoder_cases(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> Iterator[Case]:
    """An empty prompt alone; short, long and strange prompts together."""
    for label, prompts in (("an empty prompt", PROBES[:1]), ("five prompts", PROBES[:5])):
        tokens = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
        masked = getattr(text_encoder.config, "use_attention_mask", False)
        attention_mask = tokens.attention_mask if masked else None
        hidden = text_encoder(tokens.input_ids, attention_mask=attention_mask)[0]
        yield Case(label, {"input_ids": tokens.input_ids}, {"prompt_embeds": hidden})
