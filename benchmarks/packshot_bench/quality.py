"""How good a picture is, in the same row as how fast it came."""

from __future__ import annotations

import cv2
import numpy as np

from packshot import canny
from packshot_bench.job import Job

#: Edges this near each other are the same edge.
_TOLERANCE_PX = 2


def edge_f1(image: np.ndarray, job: Job) -> float:
    """F1 of a picture's Canny edges against the job's control image, 0 to 1.

    Args:
        image: uint8 [H, W, 3].
        job: that it was painted for.
    """
    found, wanted = canny(image) > 0, job.control_image > 0
    kernel = np.ones((2 * _TOLERANCE_PX + 1,) * 2, np.uint8)
    near_wanted, near_found = (cv2.dilate(each.astype(np.uint8), kernel) > 0 for each in (wanted, found))
    precision = (found & near_wanted).sum() / max(1, found.sum())
    recall = (wanted & near_found).sum() / max(1, wanted.sum())
    return float(2 * precision * recall / max(1e-9, precision + recall))
