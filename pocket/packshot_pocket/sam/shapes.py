"""Pictures of things that nobody ever sold: any outline, any surface, on anything.

The renderer's products alone would teach what *they* look like. These teach what an outline is, that a
shadow, a stripe or a highlight is none, and that a cup belongs to its saucer.
"""

from __future__ import annotations

import cv2
import numpy as np

from packshot_pocket.sam.outlines import ellipse, outline, placed
from packshot_pocket.sam.picture import Picture, Region
from packshot_pocket.sam.textures import clouds, palette, surface

_Rng = np.random.Generator


class Painter:
    """A canvas that remembers which pixels belong to what.

    Args:
        rng: draws everything.
        size: side of the canvas in pixels.
    """

    def __init__(self, rng: _Rng, size: int) -> None:
        self.rng, self.size = rng, size
        self.colours = palette(rng)
        self.image = _background(self)
        self.owner = np.full((size, size), -1, np.int16)
        self.count = 0

    def paint(self, points: np.ndarray, shadow: float = 0.0, skin: np.ndarray | None = None) -> int:
        """Draw one outline in pixels over everything before; its number in ``owner``."""
        cover = self._cover(points)
        if shadow:
            self._shade(cover, shadow)
        skin = self.surface() if skin is None else skin
        alpha = cover[..., None]
        self.image += alpha * (_lit(self.rng, skin, cover) - self.image)
        self.owner[cover >= 0.5] = self.count
        self.count += 1
        return self.count - 1

    def surface(self) -> np.ndarray:
        """A surface in the picture's colours."""
        return surface(self.rng, self.size, self.colours)

    def visible(self, *numbers: int) -> np.ndarray:
        """bool [size, size], where one of them is on top."""
        return np.isin(self.owner, numbers)

    def _cover(self, points: np.ndarray) -> np.ndarray:
        canvas = np.zeros((self.size, self.size), np.uint8)
        fixed = np.rint(points * 16).astype(np.int32)
        cv2.fillPoly(canvas, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
        return canvas.astype(np.float32) / 255

    def _shade(self, cover: np.ndarray, strength: float) -> None:
        """A soft shadow beside and under a thing that is yet to be drawn."""
        reach = self.size * self.rng.uniform(0.0, 0.06)
        angle = self.rng.uniform(0, 2 * np.pi)
        matrix = np.array([[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]], np.float32)
        moved = cv2.warpAffine(cover, matrix, (self.size, self.size))
        soft = cv2.GaussianBlur(moved, (0, 0), self.size * self.rng.uniform(0.005, 0.05))
        self.image *= 1 - np.float32(strength) * soft[..., None]


def shapes(seed: int, size: int = 256) -> Picture:
    """A picture of several things, some of them sets.

    Args:
        seed: the same seed draws the same picture.
        size: side in pixels.
    """
    rng = np.random.default_rng([seed, 20_117])
    painter = Painter(rng, size)
    things = [
        _place_setting(painter) if rng.random() < 0.25 else _thing(painter)
        for _ in range(int(rng.integers(1, 6)))
    ]
    light = 1 + np.float32(rng.uniform(0, 0.5)) * (clouds(rng, size, roughness=0.1) - 0.5)
    image = np.clip(painter.image * light[..., None], 0, 255).astype(np.uint8)
    regions = [
        Region(painter.visible(*whole), tuple(painter.visible(*part) for part in parts))
        for whole, parts in things
    ]
    return Picture(image, tuple(regions))


#: Numbers of what makes the whole, and of each part.
_Numbers = tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]


def _thing(painter: Painter) -> _Numbers:
    """One outline, perhaps with a label, a lid or a hole for contents."""
    rng, size = painter.rng, painter.size
    half = size * np.exp(rng.uniform(np.log(0.06), np.log(0.36)))
    shape = (half * rng.uniform(0.3, 1), half) if rng.random() < 0.6 else (half, half * rng.uniform(0.4, 1))
    centre = tuple(rng.uniform(0.1, 0.9, 2) * size)
    degree = rng.normal(0, 12) if rng.random() < 0.6 else rng.uniform(0, 360)
    points = outline(rng)
    body = painter.paint(placed(points, centre, shape, degree), rng.uniform(0, 0.7))
    if rng.random() < 0.5:
        return (body,), ()
    # A label lies wholly inside; a lid is the same outline, cut off.
    if rng.random() < 0.5:
        inner = placed(points * rng.uniform(0.3, 0.8), centre, shape, degree)
    else:
        upper = points[points[:, 1] <= rng.uniform(-0.8, 0.2)]
        inner = placed(upper, centre, shape, degree) if len(upper) > 2 else np.zeros((3, 2))
    part = painter.paint(inner)
    return (body, part), ((part,), (body,))


def _place_setting(painter: Painter) -> _Numbers:
    """A plate with a bowl or a cup on it, seen from above at some angle, and perhaps a spoon."""
    rng, size = painter.rng, painter.size
    radius, squash = size * rng.uniform(0.15, 0.42), rng.uniform(0.4, 1)
    centre = rng.uniform(0.25, 0.75, 2) * size
    degree = rng.normal(0, 8)
    skin = painter.surface()
    shadow = rng.uniform(0, 0.7)
    plate = [painter.paint(placed(ellipse(), tuple(centre), (radius, radius * squash), degree), shadow, skin)]
    if rng.random() < 0.7:
        inner = placed(ellipse(), tuple(centre), (radius * 0.65, radius * 0.65 * squash), degree)
        plate.append(painter.paint(inner, 0.0, skin * rng.uniform(0.8, 1.15)))
    spoon: list[int] = []
    if rng.random() < 0.5:
        at = centre + rng.uniform(-0.6, 0.6, 2) * radius * (1, squash)
        length = radius * rng.uniform(0.5, 0.9)
        turned = placed(outline(rng), tuple(at), (length * 0.18, length), rng.uniform(0, 360))
        spoon.append(painter.paint(turned, shadow))
    cup, filling = _cup(painter, centre, radius * rng.uniform(0.35, 0.75), squash, skin)
    parts = ((*cup, *filling), tuple(plate), filling, tuple(spoon))
    return (*plate, *spoon, *cup, *filling), tuple(part for part in parts if part)


def _cup(
    painter: Painter, foot: np.ndarray, radius: float, squash: float, skin: np.ndarray
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A round vessel standing at ``foot``: numbers of the vessel and of what is in it."""
    rng = painter.rng
    if rng.random() < 0.4:
        skin = painter.surface()
    # Seen flatter, it shows more of its side.
    height = radius * rng.uniform(0.2, 1.8) * np.sqrt(max(1 - squash**2, 0.05))
    mouth = foot - np.array([0, height])
    narrow = rng.uniform(0.5, 1)
    rim = placed(ellipse(), tuple(mouth), (radius, radius * squash))
    base = placed(ellipse(), tuple(foot), (radius * narrow, radius * narrow * squash))
    numbers: list[int] = []
    if rng.random() < 0.6:
        numbers.append(_handle(painter, (mouth + foot) / 2, radius, skin))
    hull = cv2.convexHull(np.concatenate([rim, base]).astype(np.float32))[:, 0]
    numbers.append(painter.paint(hull, rng.uniform(0, 0.6), skin))
    glaze = painter.surface() if rng.random() < 0.5 else skin * rng.uniform(0.7, 1.2)
    numbers.append(painter.paint(rim, 0.0, glaze))
    level = rng.uniform(0.6, 0.92)
    sunk = mouth + np.array([0, radius * squash * (1 - level) * rng.uniform(0, 0.8)])
    liquid = placed(ellipse(), tuple(sunk), (radius * level, radius * level * squash))
    return tuple(numbers), (painter.paint(liquid),)


def _handle(painter: Painter, middle: np.ndarray, radius: float, skin: np.ndarray) -> int:
    rng = painter.rng
    angle = rng.uniform(0, 2 * np.pi)
    reach = radius * rng.uniform(0.9, 1.1)
    at = middle + reach * np.array([np.cos(angle), 0.6 * np.sin(angle)])
    length, width = radius * rng.uniform(0.3, 0.6), radius * rng.uniform(0.12, 0.3)
    ear = placed(ellipse(), tuple(at), (length, width * 1.5), -np.rad2deg(angle) * 0.6)
    return painter.paint(ear, rng.uniform(0, 0.6), skin * rng.uniform(0.8, 1.1))


def _background(painter: Painter) -> np.ndarray:
    """A table, and sometimes what is behind it."""
    rng, size = painter.rng, painter.size
    image = painter.surface()
    if rng.random() < 0.6:
        left, right = rng.uniform(0.1, 0.7) * size + rng.normal(0, 0.1 * size, 2)
        points = np.array([[-2, -2], [size + 2, -2], [size + 2, right], [-2, left]])
        wall = np.zeros((size, size), np.float32)
        cv2.fillPoly(wall, [np.rint(points).astype(np.int32)], 1.0, lineType=cv2.LINE_AA)
        image += wall[..., None] * (painter.surface() - image)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 6))
    return image


def _lit(rng: _Rng, skin: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """A skin on a body: brighter on one side, darker towards its outline, sometimes with a highlight."""
    size = skin.shape[0]
    light = np.ones((size, size), np.float32)
    ys, xs = np.nonzero(cover > 0.5)
    if len(ys) < 16:
        return skin
    width, height = np.ptp(xs) + 1, np.ptp(ys) + 1
    place = np.arange(size, dtype=np.float32)
    across, down = (place - np.float32(xs.mean())) / width, (place - np.float32(ys.mean())) / height
    across, down = across.astype(np.float32), down.astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.float32(rng.uniform(0, 0.9))
    light += slope * (np.float32(np.cos(angle)) * across[None] + np.float32(np.sin(angle)) * down[:, None])
    if rng.random() < 0.6:
        depth = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        dark = np.float32(rng.uniform(0, 0.5))
        light *= 1 - dark * np.exp(depth / np.float32(-0.15 * min(width, height) - 1))
    lit = skin * light[..., None]
    if rng.random() < 0.5:
        number, sharp = rng.integers(len(ys)), np.float32(-rng.uniform(10, 120))
        column, row = across - across[xs[number]], down - down[ys[number]]
        spot = np.exp(sharp * row**2)[:, None] * np.exp(sharp * column**2)[None]
        lit += np.float32(rng.uniform(40, 255)) * spot[..., None]
    return np.clip(lit, 0, 255)
