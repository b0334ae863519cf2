"""The product of an item: cut out by a mask, by its own transparency, by a prompt, or by what stands out."""

from __future__ import annotations

import asyncio

import numpy as np

from packshot.catalog.items import Item
from packshot.cutout import Cutout
from packshot.errors import expected
from packshot.photo import Photo, load_photo
from packshot.studio import AsyncStudio

#: A mask picture's pixels above this are the product.
_BRIGHT = 127
#: A salient object covers at least and at most this share of its photo.
_LEAST, _MOST = 0.01, 0.85
#: The box that asks for the salient object, inside the photo's border by this share of its sides.
_INSET = 0.04


async def cut_out(studio: AsyncStudio, item: Item) -> Cutout:
    """The product of an item.

    Raises:
        InvalidArgument: there is none where the item says, or its files are not what they were.
        Unavailable, DeadlineExceeded, InternalError: see :mod:`packshot.errors`.
    """
    photo = await asyncio.to_thread(load_photo, item.photo)
    if item.mask is not None:
        mask = await asyncio.to_thread(load_photo, item.mask)
        return await asyncio.to_thread(_masked, photo, mask)
    if photo.has_transparency:
        return Cutout.from_photo(photo)
    if item.points or item.boxes:
        return await studio.cut_out(photo, **item.prompt)
    return await _salient(studio, photo)


def _masked(photo: Photo, mask: Photo) -> Cutout:
    if mask.size != photo.size:
        raise expected("mask", "{}x{}".format(*mask.size), "{}x{} like the photo".format(*photo.size))
    return Cutout.from_mask(photo.image, mask.image.mean(axis=2) > _BRIGHT, alpha=photo.alpha)


async def _salient(studio: AsyncStudio, photo: Photo) -> Cutout:
    """What stands out in a photo: SAM's best answer to its middle, and to nearly all of it.

    Of all masks the one that SAM trusts most, less the share of its outline that the photo's border
    cuts off: products stand inside their photos, walls and tables do not. Whether it is the product
    is for the gate to judge.
    """
    width, height = photo.size
    dx, dy = width * _INSET, height * _INSET
    found = [
        await studio.cut_out(photo, points=[(width / 2, height / 2)]),
        await studio.cut_out(photo, boxes=[(dx, dy, width - dx, height - dy)]),
    ]
    masks = [each for best in found for each in (best, *best.alternatives)]
    whole = [each for each in masks if _LEAST <= each.mask.mean() <= _MOST]
    return max(whole or masks, key=lambda each: (each.iou or 0.0) - _cut_off(each.mask))


def _cut_off(mask: np.ndarray) -> float:
    """Share of the photo's border that a mask touches."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(border.mean())
