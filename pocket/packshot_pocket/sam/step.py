"""One training step: several prompts for each picture, answered and then corrected with a click."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import SamModel

from packshot.contract import (
    LABEL_BACKGROUND,
    LABEL_BOX_BOTTOM_RIGHT,
    LABEL_BOX_TOP_LEFT,
    LABEL_FOREGROUND,
    LABEL_NOT_A_POINT,
)
from packshot_export.sam_graphs import SamDecoder
from packshot_pocket.sam.grouping import Grouping
from packshot_pocket.sam.losses import sam_loss
from packshot_pocket.sam.model import pixel_values

Batch = Mapping[str, Tensor]


class TrainedDecoder(SamDecoder):
    """The exported decoder, in full precision also where training has less.

    bfloat16 would move clicks by a pixel; and on a processor, where matrices as small as the decoder's
    gain nothing by it, converting them would cost two thirds as much again as computing.
    """

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> Any:
        with torch.autocast(image_embeddings.device.type, enabled=False):
            return super().forward(image_embeddings, point_coords, point_labels)


class TrainedSam(nn.Module):
    """A SAM with the losses of a batch. The decoder is the graph that is exported.

    Args:
        sam: already on the device to train on, where the decoder makes its grid.
    """

    def __init__(self, sam: SamModel) -> None:
        super().__init__()
        self.sam = sam
        self.decoder = TrainedDecoder(sam)
        self.grouping = Grouping(sam.config.vision_config.output_channels)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """A batch of :class:`packshot_pocket.sam.samples.SamSamples` → loss, and metrics without gradient."""
        pixels = pixel_values(batch["image"], batch["reshaped_input_size"])
        embeddings = self.sam.vision_encoder(pixels)[0].float()
        point, losses = self._clicked(embeddings, batch)
        losses.append(self._clicked_elsewhere(embeddings, batch))
        box, box_losses = self._boxed(embeddings, batch)
        losses += box_losses
        several = self._answer(embeddings, *_ended(batch["points"], batch["points_labels"]))
        losses.append(sam_loss(*several, _truth(batch["points_truth"])[:, None])[0])
        loss = torch.stack(losses).mean()
        grouping = self.grouping(embeddings, batch["owner"])
        metrics = {"loss": loss.detach(), "grouping": grouping.detach(), "point_iou": point, "box_iou": box}
        return loss + grouping, metrics

    def _clicked(self, embeddings: Tensor, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        points, truths = batch["first_point"], _truth(batch["first_truths"])
        labels = _foreground(points)
        answer = self._answer(embeddings, *_ended(points, labels))
        loss, ious = sam_loss(*answer, truths, batch["first_known"])
        first = _served(ious, answer[1])
        # Corrected, it is no longer ambiguous: the click came from what is meant.
        extra, extra_labels = corrections(answer[0], ious, truths[:, 0], self.sam.config)
        answer = self._answer(
            embeddings, *_ended(torch.cat([points, extra], 1), torch.cat([labels, extra_labels], 1))
        )
        return first, [loss, sam_loss(*answer, truths[:, :1])[0]]

    def _clicked_elsewhere(self, embeddings: Tensor, batch: Batch) -> Tensor:
        points, truths = batch["other_point"], _truth(batch["other_truths"])
        answer = self._answer(embeddings, *_ended(points, _foreground(points)))
        return sam_loss(*answer, truths, batch["other_known"])[0]

    def _boxed(self, embeddings: Tensor, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        truth, corners = _truth(batch["box_truth"])[:, None], batch["box"]
        labels = torch.tensor([LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT], device=corners.device)
        labels = labels.expand(corners.shape[0], -1)
        answer = self._answer(embeddings, corners, labels)
        loss, ious = sam_loss(*answer, truth)
        first = _served(ious, answer[1])
        extra, extra_labels = corrections(answer[0], ious, truth[:, 0], self.sam.config)
        # Points come before the corners, as in the client's prompts.
        answer = self._answer(
            embeddings, torch.cat([extra, corners], 1), torch.cat([extra_labels, labels], 1)
        )
        return first, [loss, sam_loss(*answer, truth)[0]]

    def _answer(self, embeddings: Tensor, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.decoder(embeddings, coords, labels)
        return answer["low_res_masks"], answer["iou_predictions"]


def corrections(logits: Tensor, ious: Tensor, truth: Tensor, config: object) -> tuple[Tensor, Tensor]:
    """A click on a pixel that the best mask has wrong; on the thing itself if it has none wrong.

    Args:
        logits: float32 [B, 3, m, m].
        ious: float32 [B, 3], which mask is the best.
        truth: float32 [B, m, m], 0 to 1.
        config: the SAM's.

    Returns:
        Points float32 [B, 1, 2] in pixels of SAM's square, and their labels int64 [B, 1].
    """
    batch, _, side, _ = logits.shape
    best = logits.detach()[torch.arange(batch, device=logits.device), ious.argmax(dim=1)] > 0
    inside = truth > 0.5
    wrong = best ^ inside
    where = torch.where(wrong.any(dim=(1, 2), keepdim=True), wrong, inside)
    chance = torch.rand(where.shape, device=where.device) * where
    place = chance.flatten(1).argmax(dim=1)
    label = torch.where(inside.flatten(1).gather(1, place[:, None]), LABEL_FOREGROUND, LABEL_BACKGROUND)
    cell = config.vision_config.image_size / side  # pyright: ignore[reportAttributeAccessIssue]
    xy = torch.stack([place % side, place // side], dim=1).float()
    return ((xy + 0.5) * cell - 0.5)[:, None], label


def _ended(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Points, and the "not a point" that ends a prompt without a box."""
    end = torch.full_like(labels[:, :1], LABEL_NOT_A_POINT)
    return torch.cat([points, torch.zeros_like(points[:, :1])], 1), torch.cat([labels, end], 1)


def _foreground(points: Tensor) -> Tensor:
    """Labels for points [B, N, 2] that are all on what is meant: int64 [B, N]."""
    return torch.full(points.shape[:2], LABEL_FOREGROUND, device=points.device)


def _truth(mask: Tensor) -> Tensor:
    return mask.float() / 255


def _served(ious: Tensor, iou_predictions: Tensor) -> Tensor:
    """Mean IoU of the masks that a caller would get: those with the best prediction."""
    return ious.gather(1, iou_predictions.detach().argmax(dim=1, keepdim=True)).mean()
