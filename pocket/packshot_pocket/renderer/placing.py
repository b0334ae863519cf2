"""A product in a picture: drawn in a window just large enough, lit, and shrunk to the picture's pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from packshot_pocket.renderer.gbuffer import SUPERSAMPLING, GBuffer, View
from packshot_pocket.renderer.lighting import Light, shade
from packshot_pocket.renderer.noise import triple
from packshot_pocket.renderer.palette import to_linear
from packshot_pocket.renderer.products.design import Design
from packshot_pocket.renderer.shadows import shrink


@dataclass(frozen=True, slots=True)
class Placed:
    """A product drawn at its place, not yet lit.

    Attributes:
        view: at the picture's resolution.
        buffer: of the window, supersampled.
        left, top: of the window in the picture, in pixels.
        alpha: float32 [H, W] of the picture.
    """

    view: View
    buffer: GBuffer
    left: int
    top: int
    alpha: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """The window's rows and columns in the picture."""
        height, width = (side // SUPERSAMPLING for side in self.buffer.shape)
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def place(design: Design, view: View, size: int) -> Placed:
    """Draw a product.

    Args:
        view: at the picture's resolution.
        size: of the picture.
    """
    deep = design.half_width * view.sin + 0.1
    left = max(0, math.floor(view.x - view.scale * (design.half_width + 0.08)))
    right = min(size, math.ceil(view.x + view.scale * (design.half_width + 0.08)))
    top = max(0, math.floor(view.y - view.scale * (design.height * view.cos + deep)))
    bottom = min(size, math.ceil(view.y + view.scale * deep))
    s = SUPERSAMPLING
    # The centre of a picture's pixel lies between the centres of its supersamples.
    inner = replace(
        view,
        scale=view.scale * s,
        x=(view.x - left) * s + (s - 1) / 2,
        y=(view.y - top) * s + (s - 1) / 2,
    )
    buffer = GBuffer.empty(max(bottom - top, 1) * s, max(right - left, 1) * s, inner)
    design.draw(buffer)
    alpha = np.zeros((size, size), np.float32)
    placed = Placed(view, buffer, left, top, alpha)
    alpha[placed.window] = shrink((buffer.part > 0).astype(np.float32))
    return placed


def light_up(placed: Placed, light: Light, behind: np.ndarray) -> np.ndarray:
    """Light a product.

    Args:
        behind: float32 [H, W, 3], sRGB 0 to 255, what is seen through transparent parts.

    Returns:
        float32 [H, W, 4]: sRGB 0 to 255 times alpha, then alpha in 0 to 1.
    """
    through = None
    if placed.buffer.transmission > 0:
        height, width = placed.buffer.shape
        through = to_linear(cv2.resize(behind[placed.window], (width, height)))
    lit = shade(placed.buffer, light, through)
    layer = np.zeros((*behind.shape[:2], 4), np.float32)
    layer[placed.window] = shrink(lit)
    return layer


def over(layer: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A premultiplied layer over a picture: float32 [H, W, 3]."""
    return layer[..., :3] + picture * triple(1 - layer[..., 3])
