"""SAM's two graphs: the photo's embedding, and masks from the embedding and a prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SamModel

from packshot.contract import LABEL_IGNORE, LABEL_NOT_A_POINT


class SamEncoder(nn.Module):
    """SAM's image encoder, with its image processor's normalisation and padding inside.

    Args:
        mean, std: of each channel, for pixels in [0, 1].
    """

    def __init__(self, sam: SamModel, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.vision_encoder = sam.vision_encoder
        # Not buffers: fp16 weights must not round them.
        self.mean = torch.tensor(mean).reshape(3, 1, 1)
        self.std = torch.tensor(std).reshape(3, 1, 1)

    def forward(self, image: Tensor, reshaped_input_size: Tensor) -> dict[str, Tensor]:
        """uint8 [B, S, S, 3] and int64 [B, 2] (height, width) → [B, E, s, s]."""
        dtype = next(self.vision_encoder.parameters()).dtype
        # TensorRT knows bytes as inputs and outputs only: a cast comes first, or last.
        pixels = (image.float().permute(0, 3, 1, 2) / 255 - self.mean) / self.std
        # Padding comes after the normalisation, so it is the mean colour and not black.
        side = torch.arange(image.shape[1])
        inside_y = side[None, :, None] < reshaped_input_size[:, 0, None, None]
        inside_x = side[None, None, :] < reshaped_input_size[:, 1, None, None]
        pixels = torch.where((inside_y & inside_x)[:, None], pixels, 0.0)
        return {"image_embeddings": self.vision_encoder(pixels.to(dtype))[0].float()}


class SamDecoder(nn.Module):
    """SAM's prompt encoder and mask decoder: one prompt for each photo of the batch.

    SAM's own export decodes many prompts of one photo. Here photo and prompt share the batch axis, and a
    box is its two corners, labelled 2 and 3, as in segment-anything.
    """

    def __init__(self, sam: SamModel) -> None:
        super().__init__()
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = sam.mask_decoder
        # Not buffers: sines of fp16 coordinates would miss by pixels.
        with torch.no_grad():
            self.grid = sam.get_image_wide_positional_embeddings()
        self.frequencies = sam.prompt_encoder.shared_embedding.positional_embedding.detach().clone()

    def forward(
        self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> dict[str, Tensor]:
        """[B, E, s, s], pixels [B, N, 2] and labels [B, N] → logits [B, 3, 4s, 4s] and IoUs [B, 3]."""
        dtype = self.mask_decoder.iou_token.weight.dtype
        batch = image_embeddings.shape[0]
        sparse = self._embed(point_coords, point_labels).to(dtype)
        dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        masks, iou_predictions = self.mask_decoder(
            image_embeddings=image_embeddings.to(dtype),
            image_positional_embeddings=self.grid.to(dtype).expand(batch, -1, -1, -1),
            sparse_prompt_embeddings=sparse[:, None],
            dense_prompt_embeddings=dense.expand(batch, -1, *self.grid.shape[-2:]),
            multimask_output=True,
        )
        return {"low_res_masks": masks[:, 0].float(), "iou_predictions": iou_predictions[:, 0].float()}

    def _embed(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens [B, N, E] in fp32."""
        encoder = self.prompt_encoder
        unit = (coords + 0.5) / encoder.input_image_size  # + 0.5: the pixel's centre
        angles = 2 * torch.pi * ((2 * unit - 1) @ self.frequencies)
        position = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
        label = labels[:, :, None]
        tokens = torch.where(label == LABEL_NOT_A_POINT, encoder.not_a_point_embed.weight.float(), position)
        tokens = torch.where(label == LABEL_IGNORE, torch.zeros_like(tokens), tokens)
        for number, embedding in enumerate(encoder.point_embed):
            tokens = torch.where(label == number, tokens.add(embedding.weight.float()), tokens)
        return tokens
