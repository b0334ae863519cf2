"""Canny edges: what tells the ControlNet where the product is and how it looks."""

from __future__ import annotations

import cv2
import numpy as np

from packshot.arrays import check_uint8
from packshot.checks import number
from packshot.contract import MASK_THRESHOLD


def canny(
    image: np.ndarray, low: float = 100, high: float = 200, alpha: np.ndarray | None = None
) -> np.ndarray:
    """Canny edges of an image, as the published ControlNets were trained on them.

    Args:
        image: uint8 [H, W, 3], RGB.
        low: gradients below are no edge.
        high: gradients above always are an edge; between, if they hang together with one.
        alpha: uint8 [H, W] of the products on the image; their contours are added where Canny has no edge
            within 2 pixels, so that a white product on white keeps its outline. The canvas' border is
            not a contour.

    Returns:
        uint8 [H, W], 0 or 255.

    Raises:
        InvalidArgument: wrong dtype or shape, or thresholds that are not 0 ≤ low ≤ high.
    """
    image = check_uint8("canny.image", image, "H", "W", 3)
    low = number("canny.low", low, 0)
    high = number("canny.high", high, low)
    edges = cv2.Canny(np.ascontiguousarray(image), low, high)
    if alpha is not None:
        check_uint8("canny.alpha", alpha, *image.shape[:2])
        # Where Canny saw the outline itself, a second line beside it would only confuse.
        near = cv2.dilate(edges, np.ones((5, 5), np.uint8))
        edges = np.maximum(edges, np.where(near > 0, np.uint8(0), contour(alpha)))
    return edges


def contour(alpha: np.ndarray) -> np.ndarray:
    """The outermost pixels of the products: uint8 [H, W], 255 on the contour."""
    # Half transparent counts as inside, as it does in mask_image.
    inside = (alpha >= MASK_THRESHOLD).astype(np.uint8)
    # Beyond its border OpenCV takes the image as all inside, so a product cut off there has no edge.
    eroded = cv2.erode(inside, np.ones((3, 3), np.uint8))
    return (inside - eroded) * np.uint8(255)
