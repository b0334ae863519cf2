"""The text encoder's graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel


class TextEncoder(nn.Module):
    """CLIP's text model, masked as diffusers does.

    Args:
        eos_token_id: what the tokenizer ends a prompt with; what follows is padding.
    """

    def __init__(self, text_encoder: CLIPTextModel, eos_token_id: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.eos_token_id = eos_token_id
        # Stable Diffusion's encoders look at the padding too, unless their config says otherwise.
        self.use_attention_mask = bool(getattr(text_encoder.config, "use_attention_mask", False))

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        """int64 [B, T] → [B, T, D]."""
        attention_mask = None
        if self.use_attention_mask:
            is_end = (input_ids == self.eos_token_id).to(torch.int64)
            attention_mask = (is_end.cumsum(dim=1) - is_end == 0).to(torch.int64)
        hidden = self.text_encoder(input_ids, attention_mask=attention_mask)[0]
        return {"prompt_embeds": hidden.float()}
