"""Artwork on products: labels, stripes, prints, lettering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.noise import fractal_noise, smoothstep
from packshot_pocket.renderer.palette import product_colour

_SIDE = 160
_SYLLABLES = (
    "lu",
    "mo",
    "ka",
    "ne",
    "vi",
    "so",
    "ra",
    "ti",
    "el",
    "an",
    "or",
    "ba",
    "fi",
    "zen",
    "no",
    "pure",
)
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
)


@dataclass(frozen=True, slots=True)
class Artwork:
    """A picture with transparency, printed on a surface.

    Attributes:
        pixels: float32 [h, w, 4], linear colour times alpha, then alpha.
    """

    pixels: np.ndarray

    def over(self, colour: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The print on a colour.

        Args:
            colour: float32 [n, 3], linear.
            u, v: float32 [n], 0 to 1 from left to right and from top to bottom. Outside is blank.
        """
        height, width = self.pixels.shape[:2]
        x, y = u * width - 0.5, v * height - 0.5
        # OpenCV's remap wants pictures less than 32,768 pixels high: fold the list into rows.
        count = len(x)
        folded = np.full((2, -(-count // 256) * 256), -9.0, np.float32)
        folded[0, :count], folded[1, :count] = x, y
        sampled = cv2.remap(
            self.pixels,
            folded[0].reshape(-1, 256),
            folded[1].reshape(-1, 256),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        ).reshape(-1, 4)[:count]
        return sampled[:, :3] + colour * (1 - sampled[:, 3:])


def label(dice: Dice, aspect: float) -> Artwork:
    """A paper label with a name, lines of small print and perhaps a mark.

    Args:
        aspect: width over height of the place it is printed on.
    """
    height, width = _canvas_size(aspect)
    paper, ink = _two_colours(dice)
    canvas = np.empty((height, width, 4), np.uint8)
    canvas[...] = _bytes(paper)
    accent = _bytes(product_colour(dice).tolist())
    if dice.chance(0.5):
        band = int(height * dice.uniform(0.1, 0.3))
        canvas[:band] = accent
        if dice.chance(0.5):
            canvas[-band // 2 :] = accent
    if dice.chance(0.5):
        centre = (width // 2, int(height * 0.34))
        cv2.circle(canvas, centre, int(min(width, height) * dice.uniform(0.1, 0.2)), accent, -1, cv2.LINE_AA)
    _write(dice, canvas, ink, 0.6)
    for line in range(int(dice.rng.integers(1, 5))):
        y = int(height * (0.72 + 0.06 * line))
        half = int(width * dice.uniform(0.12, 0.35))
        cv2.line(canvas, (width // 2 - half, y), (width // 2 + half, y), _bytes(ink), 2, cv2.LINE_AA)
    return _finished(canvas)


def lettering(dice: Dice, aspect: float) -> Artwork:
    """A name printed straight on the product."""
    height, width = _canvas_size(aspect)
    canvas = np.zeros((height, width, 4), np.uint8)
    ink = (0.02, 0.02, 0.02) if dice.chance(0.5) else (0.85, 0.84, 0.8)
    _write(dice, canvas, ink, 0.55)
    return _finished(canvas)


def pattern(dice: Dice, aspect: float) -> Artwork:
    """Something that covers all of a surface: stripes, dots, a glaze, zigzags."""
    height, width = _canvas_size(aspect)
    rng = dice.texture()
    kind = int(dice.rng.integers(5))
    v, u = np.mgrid[0:height, 0:width].astype(np.float32) / _SIDE
    count = dice.uniform(2, 7)
    if kind == 0:
        cover = smoothstep(-0.05, 0.05, np.sin(2 * np.pi * v * count) - dice.uniform(-0.6, 0.6))
    elif kind == 1:
        cover = smoothstep(-0.1, 0.1, np.sin(2 * np.pi * u * count * 2) - dice.uniform(-0.6, 0.6))
    elif kind == 2:
        dots = np.sin(2 * np.pi * u * count * 1.5) * np.sin(2 * np.pi * v * count * 1.5)
        cover = smoothstep(-0.06, 0.06, dots - dice.uniform(0.3, 0.6))
    elif kind == 3:  # a glaze that runs down
        edge = dice.uniform(0.2, 0.7) + 0.06 * fractal_noise(rng, height, width, (0.5, 5), 3)
        cover = smoothstep(-0.02, 0.02, edge - v * _SIDE / height)
    else:
        cover = 0.8 * smoothstep(0.2, 0.9, fractal_noise(rng, height, width, (9, 9), 3, 0.7))
    colour = product_colour(dice)
    return Artwork(
        np.dstack([cover * colour[0], cover * colour[1], cover * colour[2], cover]).astype(np.float32)
    )


def _write(dice: Dice, canvas: np.ndarray, ink: tuple[float, float, float], row: float) -> None:
    height, width = canvas.shape[:2]
    text = "".join(dice.choice(_SYLLABLES) for _ in range(int(dice.rng.integers(2, 4))))
    text = text.upper() if dice.chance(0.6) else text.capitalize()
    font = dice.choice(_FONTS)
    (text_width, text_height), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = min(0.85 * width / text_width, 0.4 * height / text_height)
    place = (int((width - text_width * scale) / 2), int(height * row + text_height * scale / 2))
    thickness = max(1, round(2.6 * scale))
    cv2.putText(canvas, text, place, font, scale, _bytes(ink), thickness, cv2.LINE_AA)


def _bytes(colour: Sequence[float]) -> tuple[float, ...]:
    """An opaque linear colour for OpenCV, whose anti-aliasing wants 8-bit pictures."""
    return (*(255 * value for value in colour), 255.0)


def _finished(canvas: np.ndarray) -> Artwork:
    return Artwork(canvas.astype(np.float32) / 255)


def _two_colours(dice: Dice) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """A paper and an ink that can be read on it."""
    if dice.chance(0.6):
        tint = dice.uniform(0.65, 0.85)
        return (tint, tint * dice.uniform(0.92, 1), tint * dice.uniform(0.8, 1)), (0.03, 0.03, 0.035)
    r, g, b = (0.5 * product_colour(dice)).tolist()
    return (r, g, b), (0.8, 0.78, 0.72)


def _canvas_size(aspect: float) -> tuple[int, int]:
    aspect = min(max(aspect, 0.25), 4.0)
    return (_SIDE, max(16, round(_SIDE * aspect))) if aspect <= 1 else (max(16, round(_SIDE / aspect)), _SIDE)
