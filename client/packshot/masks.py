"""SAM's answers as cut-outs."""

from __future__ import annotations

import numpy as np

from packshot.cutout import Cutout
from packshot.errors import expected
from packshot.photo import Photo
from packshot.sam_prompts import Letterbox


def best_cutout(photo: Photo, letterbox: Letterbox, answers: list[tuple[np.ndarray, np.ndarray]]) -> Cutout:
    """Unite the masks of equal rank over the prompts; the best becomes the cut-out.

    Args:
        photo: the photo.
        letterbox: how it lay in SAM's square.
        answers: for each prompt low_res_masks float32 [3, 4s, 4s] and iou_predictions float32 [3].

    Returns:
        The cut-out of the masks with the best predicted IoU, the others as its alternatives. Masks
        without a pixel are left out.

    Raises:
        InvalidArgument: no mask has a pixel.
    """
    ranked = [(masks, ious, np.argsort(-ious, kind="stable")) for masks, ious in answers]
    cutouts: list[Cutout] = []
    for rank in range(len(ranked[0][2])):
        mask = np.zeros(photo.image.shape[:2], bool)
        for masks, _, order in ranked:
            mask |= letterbox.to_photo(masks[order[rank]]) > 0
        if photo.alpha is not None:
            mask &= photo.alpha > 0
        if mask.any():
            iou = min(float(ious[order[rank]]) for _, ious, order in ranked)
            cutouts.append(Cutout.from_mask(photo.image, mask, iou, alpha=photo.alpha))
    if not cutouts:
        raise expected("prompt", "no mask with a pixel in it", "points or a box on a product")
    best, *others = cutouts
    return Cutout(best.image, best.alpha, best.iou, tuple(others))
