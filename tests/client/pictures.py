"""Small photos and products for the tests."""

from __future__ import annotations

import numpy as np

from packshot.cutout import Cutout


def texture(width: int, height: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random pixels: no two neighbours alike, so every shift and every resampling shows."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def product(width: int = 40, height: int = 24, margin: int = 10, seed: int = 0) -> Cutout:
    """A rectangular product in a photo with a margin around it."""
    photo = texture(width + 2 * margin, height + 2 * margin, seed=seed)
    mask = np.zeros(photo.shape[:2], bool)
    mask[margin : margin + height, margin : margin + width] = True
    return Cutout.from_mask(photo, mask)


def opaque(width: int = 40, height: int = 24, colour: tuple[int, int, int] = (200, 40, 20)) -> Cutout:
    """A product in one colour without a soft rim."""
    image = np.full((height, width, 3), colour, np.uint8)
    return Cutout(image, np.full((height, width), 255, np.uint8))


def generation() -> dict[str, np.ndarray]:
    """What a generation is given beside its prompt: a black canvas, to be painted round a square."""
    mask = np.full((64, 96), 255, np.uint8)
    mask[20:40, 20:40] = 0
    return {
        "image": np.zeros((64, 96, 3), np.uint8),
        "mask_image": mask,
        "control_image": np.zeros((1, 64, 96), np.uint8),
    }
