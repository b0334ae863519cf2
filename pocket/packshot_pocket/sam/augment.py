"""What cameras and people do to pictures, so that rendered ones teach how real ones look."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from packshot_pocket.sam.textures import clouds

_Rng = np.random.Generator

#: Width by height of photos. Mostly squares, which fill SAM's own: of others up to a third is padding, from
#: which nothing is learned.
_ASPECTS = (1, 1, 1, 1, 1, 4 / 3, 3 / 2, 3 / 4)


@dataclass(frozen=True, slots=True)
class View:
    """A window on a picture, as it lies in SAM's square.

    Attributes:
        matrix: float64 [2, 3], pixels of the picture → pixels of the square, as OpenCV counts them.
        side: of the square in pixels.
        height: of the window in the square in pixels; rows from here on are padding.
        width: the same of the columns.
    """

    matrix: np.ndarray
    side: int
    height: int
    width: int

    def image(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] → uint8 [side, side, 3], 0 in the padding."""
        flags = cv2.INTER_LINEAR
        seen = cv2.warpAffine(
            picture, self.matrix, (self.side, self.side), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        seen[self.height :] = 0
        seen[:, self.width :] = 0
        return seen

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """bool [H, W] → uint8 [side, side], how much of each pixel it covers, 0 to 255."""
        seen = cv2.warpAffine(mask.astype(np.uint8) * np.uint8(255), self.matrix, (self.side, self.side))
        seen[self.height :] = 0
        seen[:, self.width :] = 0
        return seen


def random_view(rng: _Rng, size: int, side: int) -> View:
    """A window of random size, format and place; sometimes mirrored or tilted.

    Args:
        size: side of the picture in pixels.
        side: of SAM's square in pixels.
    """
    aspect = float(rng.choice(_ASPECTS))
    width, height = (side, round(side / aspect)) if aspect > 1 else (round(side * aspect), side)
    # The longest side shows the whole picture, or down to 60 % of it.
    shown = size * rng.uniform(0.6, 1) if rng.random() < 0.6 else size
    zoom = side / shown
    angle = np.deg2rad(np.clip(rng.normal(0, 8), -25, 25)) if rng.random() < 0.4 else 0.0
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[:, 0] *= mirror
    free = np.array([size - width / zoom, size - height / zoom]) / 2
    middle = size / 2 + rng.uniform(-1, 1, 2) * free
    shift = np.array([width / 2, height / 2]) - turn @ middle
    return View(np.column_stack([turn, shift]), side, height, width)


def worn(rng: _Rng, image: np.ndarray) -> np.ndarray:
    """The picture as another camera, another light and another program might have saved it.

    Args:
        image: uint8 [H, W, 3].

    Returns:
        uint8 [H, W, 3]; outlines stay where they are.
    """
    picture = _light(rng, image.astype(np.float32) / 255)
    picture = _colour(rng, picture)
    picture = _optics(rng, picture)
    saved = np.clip(picture * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 95))
        _, data = cv2.imencode(".jpg", saved, [cv2.IMWRITE_JPEG_QUALITY, quality])
        saved = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return saved


def _light(rng: _Rng, picture: np.ndarray) -> np.ndarray:
    """Exposure, contrast, uneven light, coloured light."""
    if rng.random() < 0.6:
        picture = picture ** np.float32(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        depth = np.float32(rng.uniform(0, 0.6))
        picture = picture * (1 - depth * clouds(rng, picture.shape[0], roughness=0.3))[..., None]
    if rng.random() < 0.15:
        # Reflections and spilt light: patches that have nothing to do with the things below.
        veil = np.clip(clouds(rng, picture.shape[0]) - rng.uniform(0.5, 0.9), 0, 1)[..., None]
        picture = picture + veil * rng.uniform(-0.6, 0.9, 3).astype(np.float32)
    warmth = rng.normal(0, 0.09, 3)
    return picture * np.exp(warmth).astype(np.float32) * np.float32(rng.uniform(0.75, 1.3))


def _colour(rng: _Rng, picture: np.ndarray) -> np.ndarray:
    """Saturation down to grey, channels in another order, contrast."""
    if rng.random() < 0.15:
        picture = picture[..., rng.permutation(3)]
    grey = picture.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.3, 1.5)
    picture = grey + np.float32(saturation) * (picture - grey)
    middle = np.float32(picture.mean())
    return middle + np.float32(rng.uniform(0.6, 1.4)) * (picture - middle)


def _optics(rng: _Rng, picture: np.ndarray) -> np.ndarray:
    """Blur, too much sharpening, texture on everything, noise."""
    fate = rng.random()
    if fate < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.8))
    elif fate < 0.45:
        soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 1.5))
        picture = picture + np.float32(rng.uniform(0.3, 1.5)) * (picture - soft)
    if rng.random() < 0.3:
        rough = clouds(rng, picture.shape[0], roughness=rng.uniform(0.7, 1)) - np.float32(0.5)
        picture = picture * (1 + np.float32(rng.uniform(0, 0.5)) * rough[..., None])
    if rng.random() < 0.6:
        channels = 3 if rng.random() < 0.5 else 1
        noise = rng.standard_normal((*picture.shape[:2], channels), np.float32)
        picture = picture + np.float32(rng.uniform(0, 0.07)) * noise
    return picture
