"""SAM prompts: the photo's pixels to SAM's square, and SAM's masks back to the photo.

Everything here agrees with ``transformers.SamProcessor``, number for number.

Coordinates are x, y with the origin in the top left corner of the photo, in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np
from PIL import Image

from packshot.arrays import frozen, shown
from packshot.contract import (
    LABEL_BACKGROUND,
    LABEL_BOX_BOTTOM_RIGHT,
    LABEL_BOX_TOP_LEFT,
    LABEL_FOREGROUND,
    LABEL_NOT_A_POINT,
    MAX_POINTS,
)
from packshot.errors import expected

Points = Sequence[Sequence[float]] | np.ndarray
Boxes = Sequence[Sequence[float]] | np.ndarray
Labels = Sequence[int] | np.ndarray


class SamArguments(TypedDict):
    """The arguments of ``Studio.cut_out`` besides the photo."""

    points: list[list[float]]
    labels: list[int]
    boxes: list[list[float]]


@dataclass(frozen=True, slots=True)
class SamPrompt:
    """One prompt as the server takes it.

    Attributes:
        point_coords: float32 [N, 2], x, y in pixels of the S × S square.
        point_labels: int64 [N], see ``packshot.contract``.
    """

    point_coords: np.ndarray
    point_labels: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "point_coords", frozen(self.point_coords.astype(np.float32)))
        object.__setattr__(self, "point_labels", frozen(self.point_labels.astype(np.int64)))


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a photo lies in SAM's square: scaled to fit, in the top left corner.

    Attributes:
        width: of the photo in pixels.
        height: of the photo in pixels.
        side: of the square in pixels.
    """

    width: int
    height: int
    side: int

    @property
    def reshaped_input_size(self) -> tuple[int, int]:
        """Height and width of the photo inside the square."""
        scale = self.side * 1.0 / max(self.height, self.width)
        # transformers rounds so; a very thin photo keeps one row of pixels where it would keep none.
        return max(1, int(self.height * scale + 0.5)), max(1, int(self.width * scale + 0.5))

    def fit(self, image: np.ndarray) -> np.ndarray:
        """The photo in the square, padded with 0 at the bottom and on the right.

        Args:
            image: uint8 [H, W, 3].

        Returns:
            uint8 [side, side, 3].
        """
        height, width = self.reshaped_input_size
        square = np.zeros((self.side, self.side, 3), np.uint8)
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        square[:height, :width] = np.asarray(resized)
        return square

    def to_square(self, coords: np.ndarray) -> np.ndarray:
        """Points float64 [..., 2] from pixels of the photo to pixels of the square."""
        height, width = self.reshaped_input_size
        return coords * np.array([width / self.width, height / self.height])

    def to_photo(self, low_res_mask: np.ndarray) -> np.ndarray:
        """One low-resolution mask at the photo's resolution.

        Args:
            low_res_mask: float32 [4s, 4s], logits.

        Returns:
            float32 [height, width], logits; above 0 is the product.
        """
        height, width = self.reshaped_input_size
        # INTER_LINEAR is torch's bilinear with align_corners=False.
        square = cv2.resize(low_res_mask, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        inside = np.ascontiguousarray(square[:height, :width])
        return cv2.resize(inside, (self.width, self.height), interpolation=cv2.INTER_LINEAR)


def sam_prompts(
    letterbox: Letterbox,
    points: Points | None = None,
    labels: Labels | None = None,
    boxes: Boxes | None = None,
) -> tuple[SamPrompt, ...]:
    """What to ask SAM for: one prompt without boxes, else one prompt for each box.

    Several boxes are the parts of one product, whose masks are united. A point inside boxes belongs
    to those boxes; a point outside every box belongs to all of them.

    Args:
        letterbox: where the photo lies.
        points: [N, 2], x, y in pixels of the photo.
        labels: [N], 1 on the product, 0 on the background; all 1 if left out.
        boxes: [M, 4], x0, y0, x1, y1 in pixels of the photo.

    Raises:
        InvalidArgument: no prompt, one outside the photo, an empty box, NaN, labels that do not
            match the points, only background points, or too many points.
    """
    point_array = _rows("points", points, 2)
    box_array = _rows("boxes", boxes, 4)
    label_array = _labels(labels, len(point_array))
    _check_points(point_array, letterbox)
    _check_boxes(box_array, letterbox)
    if not len(box_array) and not (label_array == LABEL_FOREGROUND).any():
        got = f"{len(point_array)} background points" if len(point_array) else "no points and no boxes"
        raise expected("prompt", got, "a box or a point on the product")
    if not len(box_array):
        _check_count(len(point_array), 1, "without a box")
        coords = np.concatenate([letterbox.to_square(point_array), np.zeros((1, 2))])
        return (SamPrompt(coords, np.append(label_array, LABEL_NOT_A_POINT)),)
    inside = _inside(point_array, box_array)
    inside |= ~inside.any(axis=1, keepdims=True)
    _check_count(inside.sum(axis=0).max(), 2, "for a box")
    corner_labels = [LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT]
    return tuple(
        SamPrompt(
            letterbox.to_square(np.concatenate([point_array[mine], box.reshape(2, 2)])),
            np.append(label_array[mine], corner_labels),
        )
        for box, mine in zip(box_array, inside.T, strict=True)
    )


def check_prompt(
    size: tuple[int, int],
    points: Points | None = None,
    labels: Labels | None = None,
    boxes: Boxes | None = None,
) -> None:
    """Refuse what :func:`sam_prompts` refuses for a photo of this width and height; no server is needed."""
    # The side of SAM's square decides nothing here.
    sam_prompts(Letterbox(*size, side=1024), points, labels, boxes)


def _rows(what: str, values: Points | Boxes | None, width: int) -> np.ndarray:
    if values is None:
        return np.zeros((0, width))
    form = f"a list of {'x, y' if width == 2 else 'x0, y0, x1, y1'} in pixels of the photo"
    try:
        rows = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise expected(what, shown(values), form) from None
    if rows.size == 0:
        return np.zeros((0, width))
    if rows.ndim != 2 or rows.shape[1] != width:
        raise expected(what, f"shape {list(rows.shape)}", form)
    if not np.isfinite(rows).all():
        raise expected(what, "NaN or infinity", "finite numbers")
    return rows


def _labels(labels: Labels | None, count: int) -> np.ndarray:
    if labels is None:
        return np.full(count, LABEL_FOREGROUND, np.int64)
    try:
        array = np.asarray(labels)
    except (ValueError, OverflowError):
        raise expected("labels", shown(labels), f"[{count}], one for each point") from None
    if array.shape != (count,):
        raise expected("labels", f"shape {list(array.shape)}", f"[{count}], one for each point")
    if not np.isin(array, [LABEL_BACKGROUND, LABEL_FOREGROUND]).all():
        raise expected("labels", shown(array.tolist()), "1 (product) or 0 (background)")
    return array.astype(np.int64)


def _check_count(count: int, taken: int, case: str) -> None:
    """Of the points that the server takes, a box is two, and one marks that there is none."""
    if count > MAX_POINTS - taken:
        raise expected("points", count, f"at most {MAX_POINTS - taken} {case}")


def _check_points(points: np.ndarray, letterbox: Letterbox) -> None:
    size = (letterbox.width, letterbox.height)
    for index, point in enumerate(points):
        if not ((point >= 0) & (point < size)).all():
            raise expected(
                f"points[{index}]",
                f"{point[0]:g},{point[1]:g}",
                f"a point inside the {letterbox.width}x{letterbox.height} photo",
            )


def _check_boxes(boxes: np.ndarray, letterbox: Letterbox) -> None:
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        got = f"{x0:g},{y0:g},{x1:g},{y1:g}"
        if not (x0 < x1 and y0 < y1):
            raise expected(f"boxes[{index}]", got, "x0 < x1 and y0 < y1")
        if x0 < 0 or y0 < 0 or x1 > letterbox.width or y1 > letterbox.height:
            raise expected(
                f"boxes[{index}]", got, f"a box inside the {letterbox.width}x{letterbox.height} photo"
            )


def _inside(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """bool [points, boxes]."""
    each = points[:, None, :]
    inside = (each >= boxes[None, :, :2]) & (each <= boxes[None, :, 2:])
    return inside[..., 0] & inside[..., 1]
