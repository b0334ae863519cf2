"""SAM's loss: focal and dice on the best of three masks, and honest predicted IoUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_FOCAL_WEIGHT = 20.0
#: What else a click could have meant counts less than what it did mean.
_OTHER_CANDIDATES = 0.4
#: All three masks learn a little from everything, or one of them may never be the best and never learn.
_ALL_MASKS = 0.05


def pairwise_cost(logits: Tensor, truths: Tensor) -> Tensor:
    """Focal plus dice of every mask against every truth.

    Args:
        logits: float32 [B, M, m, m].
        truths: float32 [B, L, m, m], 0 to 1; outlines lie in between.

    Returns:
        float32 [B, M, L].
    """
    logit, truth = logits.flatten(2), truths.flatten(2).transpose(1, 2)
    probability, softplus = torch.sigmoid(logit), F.softplus(logit)
    # The focal losses of a pixel inside and of one outside, mixed as the truth is: all pairs are then
    # products of matrices.
    inside = (1 - probability).square() * (softplus - logit)
    outside = probability.square() * softplus
    # In full precision: sums over all pixels, whose differences matter.
    with torch.autocast(logits.device.type, enabled=False):
        focal = (outside.sum(dim=2, keepdim=True) + (inside - outside) @ truth) / logit.shape[2]
        overlap = probability @ truth
    sizes = probability.square().sum(dim=2)[:, :, None] + truth.square().sum(dim=1)[:, None]
    dice = 1 - (2 * overlap + 1) / (sizes + 1)
    return _FOCAL_WEIGHT * focal + dice


def iou(masks: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union.

    Args:
        masks: bool [B, M, m, m].
        truth: bool [B, 1, m, m].

    Returns:
        float32 [B, M].
    """
    both = (masks & truth).sum(dim=(-2, -1)).float()
    either = (masks | truth).sum(dim=(-2, -1)).float()
    return both / either.clamp(min=1)


def sam_loss(
    logits: Tensor, iou_predictions: Tensor, truths: Tensor, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The loss of one prompt for each picture.

    Args:
        logits: float32 [B, 3, m, m].
        iou_predictions: float32 [B, 3].
        truths: float32 [B, L, m, m], 0 to 1; what is meant comes first.
        known: bool [B, L], which truths there are; None for all.

    Returns:
        The loss, and IoUs float32 [B, 3] of the masks with what is meant.
    """
    cost = pairwise_cost(logits, truths)
    best = cost.min(dim=1).values
    weights = torch.full_like(best, _OTHER_CANDIDATES)
    weights[:, 0] = 1.0
    if known is not None:
        weights = weights * known
    masks = (best * weights).sum(dim=1) / weights.sum(dim=1) + _ALL_MASKS * cost[:, :, 0].mean(dim=1)
    with torch.no_grad():
        ious = iou(logits > 0, truths[:, :1] > 0.5)
    return masks.mean() + F.mse_loss(iou_predictions, ious), ious
