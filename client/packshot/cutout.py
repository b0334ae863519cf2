"""A product cut out of its photo."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from packshot.arrays import check_uint8, describe, frozen
from packshot.errors import InvalidArgument, expected
from packshot.photo import load_photo
from packshot.png import save_png

if TYPE_CHECKING:
    from packshot.photo import Photo, PhotoSource

#: Width of the soft rim in pixels of the photo. It lies inside the mask, so it shows none of the background.
RIM_PX = 2


@dataclass(frozen=True, slots=True)
class Cutout:
    """A product with transparency around it, at its photo's own resolution.

    Attributes:
        image: uint8 [H, W, 3], the photo's own pixels, also outside the product if they are known.
        alpha: uint8 [H, W]. From a mask: 255 further than ``RIM_PX`` pixels inside it, falling
            linearly towards its outline, 0 outside.
        iou: SAM's predicted IoU of the mask, the least one if it has several parts; None if the
            cut-out does not come from SAM.
        alternatives: SAM's other masks, best first.

    Raises:
        InvalidArgument: shapes or dtypes are wrong, or there is no product in it.
    """

    image: np.ndarray
    alpha: np.ndarray
    iou: float | None = None
    alternatives: tuple[Cutout, ...] = ()

    def __post_init__(self) -> None:
        image = check_uint8("cutout.image", self.image, "H", "W", 3)
        check_uint8("cutout.alpha", self.alpha, *image.shape[:2])
        if not self.alpha.any():
            raise expected("cutout.alpha", "0 everywhere", "a product")
        object.__setattr__(self, "image", frozen(self.image))
        object.__setattr__(self, "alpha", frozen(self.alpha))

    @classmethod
    def from_mask(
        cls,
        image: np.ndarray,
        mask: np.ndarray,
        iou: float | None = None,
        alternatives: tuple[Cutout, ...] = (),
        *,
        alpha: np.ndarray | None = None,
    ) -> Cutout:
        """Cut along a mask, bool [H, W], True on the product.

        Where the image itself is transparent, by its ``alpha``, uint8 [H, W], the cut-out is, too.
        """
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
            raise expected("cutout.mask", describe(mask), "bool[H,W]")
        soft = soft_alpha(mask)
        return cls(image, soft if alpha is None else np.minimum(soft, alpha), iou, alternatives)

    @classmethod
    def from_photo(cls, photo: Photo) -> Cutout:
        """A photo that has transparency already."""
        if photo.alpha is None or not photo.has_transparency:
            raise expected("cutout", "a photo without transparency", "an image with transparency")
        return cls(photo.image, photo.alpha)

    @classmethod
    def load(cls, source: PhotoSource) -> Cutout:
        """Read an image with transparency, such as :meth:`save` writes; see :func:`packshot.load_photo`."""
        photo = load_photo(source)
        try:
            return cls.from_photo(photo)
        except InvalidArgument as error:
            name = f"{os.fspath(source)}: " if isinstance(source, str | os.PathLike) else ""
            raise InvalidArgument(f"{name}{error}") from None

    @property
    def mask(self) -> np.ndarray:
        """bool [H, W], True where there is anything of the product."""
        return self.alpha > 0

    @property
    def rgba(self) -> np.ndarray:
        """uint8 [H, W, 4], not premultiplied; black where alpha is 0."""
        return np.dstack([np.where(self.mask[..., None], self.image, 0).astype(np.uint8), self.alpha])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the product in pixels of the photo; x1 and y1 lie just outside it."""
        return bounding_box(self.mask)

    def to_pil(self) -> Image.Image:
        """The cut-out as a PIL image of mode RGBA."""
        return Image.fromarray(self.rgba)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG with transparency; an existing file is replaced."""
        iou = None if self.iou is None or not math.isfinite(self.iou) else round(float(self.iou), 6)
        save_png(path, self.rgba, {"iou": iou})


def soft_alpha(mask: np.ndarray) -> np.ndarray:
    """Alpha of a mask: 255 · min(1, d / (RIM_PX + 1)), d the distance to the nearest pixel outside.

    The border of the photo is no outline: a product that it cuts off stays opaque there.

    Args:
        mask: bool [H, W], True on the product.

    Returns:
        uint8 [H, W].
    """
    if mask.all():
        return np.full(mask.shape, 255, np.uint8)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.rint(np.minimum(distance / (RIM_PX + 1), 1) * 255).astype(np.uint8)


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around the True pixels of a mask that has some; x1 and y1 lie just outside."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
