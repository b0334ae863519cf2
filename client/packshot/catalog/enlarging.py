"""From a painted canvas to a finished picture of another size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from packshot.canvas import Placement, product_box
from packshot.catalog.layout import Layout
from packshot.cutout import Cutout


@dataclass(frozen=True, slots=True)
class Enlargement:
    """A canvas is made larger, or smaller, evenly until it covers the finished picture, which is its middle.

    Sides of a canvas are multiples of the family's unit: its shape is hardly ever quite the picture's.

    Attributes:
        canvas: width and height of what is painted, in pixels.
        size: of the finished picture.
    """

    canvas: tuple[int, int]
    size: tuple[int, int]

    @property
    def _covering(self) -> tuple[int, int]:
        """Width and height of the whole canvas, enlarged."""
        width, height = self.canvas
        factor = max(self.size[0] / width, self.size[1] / height)
        return max(self.size[0], round(width * factor)), max(self.size[1], round(height * factor))

    @property
    def _factors(self) -> tuple[float, float]:
        """Its pixels for one of the canvas, across and down: the same but for rounding."""
        return self._covering[0] / self.canvas[0], self._covering[1] / self.canvas[1]

    @property
    def _cut(self) -> tuple[int, int]:
        """Columns and rows of it left of the picture and above."""
        return (self._covering[0] - self.size[0]) // 2, (self._covering[1] - self.size[1]) // 2

    def place(self, layout: Layout, cutout: Cutout) -> Placement:
        """Where to paint a product on the canvas for it to stand in the finished picture as a layout says."""
        x0, y0, x1, y1 = product_box(layout.place(cutout, self.size), self.size)
        (across, down), (cut_x, cut_y) = self._factors, self._cut
        box = (x0 + cut_x) / across, (y0 + cut_y) / down, (x1 + cut_x) / across, (y1 + cut_y) / down
        return _placed(cutout, box, self.canvas)

    def over(self, painted: Placement) -> Placement:
        """Where a product has to lie on the finished picture to hide the one that was painted.

        That one lies on whole pixels, each of which is now several: to go by where it should have been
        would leave some of it to be seen.

        Args:
            painted: upright, on the canvas.
        """
        x0, y0, x1, y1 = product_box(painted, self.canvas)
        (across, down), (cut_x, cut_y) = self._factors, self._cut
        box = x0 * across - cut_x, y0 * down - cut_y, x1 * across - cut_x, y1 * down - cut_y
        return _placed(painted.cutout, box, self.size)

    def picture(self, scene: np.ndarray) -> np.ndarray:
        """uint8 [h, w, 3] of the canvas → uint8 [H, W, 3] of the finished picture."""
        how = cv2.INTER_AREA if self._factors[0] < 1 else cv2.INTER_LANCZOS4
        whole = cv2.resize(scene, self._covering, interpolation=how)
        (x, y), (width, height) = self._cut, self.size
        return whole[y : y + height, x : x + width]


def _placed(cutout: Cutout, box: tuple[float, float, float, float], canvas: tuple[int, int]) -> Placement:
    """A product, as large as covers the box, in the middle of it."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = cutout.box
    factor = max((x1 - x0) / (right - left), (y1 - y0) / (bottom - top))
    largest = min(canvas[0] / (right - left), canvas[1] / (bottom - top))
    return Placement(cutout, (x0 + x1) / 2 / canvas[0], (y0 + y1) / 2 / canvas[1], factor / largest)
