"""What trains the image encoder besides prompts: which pixels of a photo belong together.

A prompt says something about one thing of a photo. For an encoder that begins with nothing that is little to
learn from; every pair of pixels says something, too, and hardly costs anything.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, pixel_shuffle

#: ``owner`` of pixels that are not told: outside the photo.
UNKNOWN = 255
#: Pixels of a photo that are compared with all others.
_ANCHORS = 48
#: Squared distance at which two pixels are as likely of one thing as of two.
_EVEN = 4.0


class Grouping(nn.Module):
    """Features of pixels, near each other where they lie on the same thing. Needed in training only.

    Args:
        channels: of the image embedding.
        width: of the features.
    """

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Conv2d(channels, 16 * width, 1)

    def forward(self, embeddings: Tensor, owner: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            embeddings: float32 [B, C, s, s].
            owner: uint8 [B, 4s, 4s], the number of the thing a pixel belongs to, 0 for none of
                them, 255 where it is not told.
        """
        owners = owner.flatten(1)
        with torch.no_grad():
            picked = torch.multinomial(_rarity(owners), _ANCHORS)
        # In full precision: differences of squares.
        with torch.autocast(embeddings.device.type, enabled=False):
            features = pixel_shuffle(self.features(embeddings), 4).flatten(2)
            anchors = features.gather(2, picked[:, None].expand(-1, features.shape[1], -1))
            squares, anchors_squares = (f.square().sum(dim=1) for f in (features, anchors))
            products = anchors.transpose(1, 2) @ features
            apart = anchors_squares[:, :, None] + squares[:, None] - 2 * products
        same = (owners.gather(1, picked)[:, :, None] == owners[:, None]).float()
        known = (owners != UNKNOWN).float()[:, None]
        # Those of the same thing and those of others weigh the same.
        weights = 0.5 * known * (same / _count(same * known) + (1 - same) / _count((1 - same) * known))
        losses = binary_cross_entropy_with_logits(_EVEN - apart, same, weights, reduction="sum")
        return losses / (owners.shape[0] * _ANCHORS)


def _rarity(owners: Tensor) -> Tensor:
    """How often each pixel is picked, float32 [B, N]: small things as often as large ones."""
    totals = torch.zeros((len(owners), 256), device=owners.device)
    totals.scatter_add_(1, owners.long(), torch.ones_like(owners, dtype=torch.float32))
    return (1 / totals.gather(1, owners.long())) * (owners != UNKNOWN)


def _count(chosen: Tensor) -> Tensor:
    return chosen.sum(dim=2, keepdim=True).clamp(min=1)
