"""The real photo: scikit-image's cup of coffee (CC0), with cup, saucer and spoon outlined by hand."""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data

#: Corners in half pixels of the 600 × 400 photo, drawn and checked on the photo at twice its size.
_SAUCER = (
    (345, 147), (300, 172), (250, 216), (208, 272), (177, 335), (159, 405), (155, 450), (160, 505),
    (178, 565), (205, 613), (245, 660), (300, 705), (360, 736), (430, 760), (500, 773), (570, 776),
    (640, 771), (710, 756), (790, 719), (860, 667), (915, 600), (945, 540), (958, 470), (956, 420),
    (940, 360), (910, 300), (870, 250), (830, 219), (600, 200),
)  # fmt: skip
_SPOON_END = ((806, 138), (828, 133), (845, 136), (851, 152), (836, 222), (818, 245), (804, 170))
#: The cup's mouth: centre, both diameters in half pixels, and its tilt in degrees.
_MOUTH = ((581, 226), (472, 378), 3)


def coffee_photo() -> np.ndarray:
    """The photo, uint8 [400, 600, 3]."""
    return skimage.data.coffee()


def coffee_mask() -> np.ndarray:
    """Cup, saucer and what of the spoon reaches over the saucer: bool [400, 600]."""
    canvas = np.zeros((800, 1200), np.uint8)
    for corners in (_SAUCER, _SPOON_END):
        cv2.fillPoly(canvas, [np.array(corners, np.int32)], 255)
    cv2.ellipse(canvas, _MOUTH, 255, -1)
    return cv2.resize(canvas, (600, 400), interpolation=cv2.INTER_AREA) >= 128


#: A box round cup and saucer as a person draws it, that of the demo: x0, y0, x1, y1.
COFFEE_BOX = (74.0, 14.0, 484.0, 390.0)
