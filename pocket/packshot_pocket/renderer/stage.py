"""The set before the product stands in it: backdrop, table, and the light on both."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.materials import HEIGHT, WIDTH, Material
from packshot_pocket.renderer.noise import smoothstep, triple


@dataclass(frozen=True, slots=True)
class Stage:
    """An empty set.

    Attributes:
        picture: float32 [H, W, 3], sRGB 0 to 255.
        table: float32 [H, W], how much of each pixel is table; the rest is backdrop.
        horizon_rows: where they meet at the left and the right edge.
    """

    picture: np.ndarray
    table: np.ndarray
    horizon_rows: tuple[float, float]


def perspective(texture: np.ndarray, size: int, horizon: float, elevation: float, turn: float) -> np.ndarray:
    """A table top as the camera sees it, below ``horizon``.

    Args:
        texture: float32 [HEIGHT, WIDTH, 3].
        size: of the picture.
        horizon: row of the far edge.
        elevation: of the camera, in radians; the higher, the less the table narrows.
        turn: share of the width by which the far edge is moved sideways.

    Returns:
        float32 [size, size, 3]; above the horizon the colour of its far edge.
    """
    scale = 2 * size  # drawn twice as large: far parts are squeezed
    top = max(0.0, horizon / size) * scale
    depth = scale - top
    # How much wider than the picture the near edge's texture is at the far edge.
    widening = 1 + 0.9 * (depth / scale) / (0.25 + 1.5 * elevation)
    near, far = 0.5 * scale * 1.15, 0.5 * scale * 1.15 / widening
    middle = 0.5 * scale
    reach = 1.9 / widening
    corners = np.array(
        [
            [middle - far * 1.9 + turn * scale, top],
            [middle + far * 1.9 + turn * scale, top],
            [middle + near * 1.9, scale],
            [middle - near * 1.9, scale],
        ],
        np.float32,
    )
    corners[:2, 0] = middle + (corners[:2, 0] - middle) * max(1.0, 1.0 / (reach * 0.52))
    corners[2:, 0] = middle + (corners[2:, 0] - middle) * max(1.0, 1.0 / (reach * 0.52))
    source = np.array([[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [0, HEIGHT - 1]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners)
    # Only what lies below the horizon is drawn; 8-bit warps are several times faster.
    first = int(top) // 2 * 2
    matrix = np.array([[1, 0, 0], [0, 1, -first], [0, 0, 1]]) @ matrix
    bytes_ = np.clip(np.rint(texture), 0, 255).astype(np.uint8)
    large = cv2.warpPerspective(
        bytes_, matrix, (scale, scale - first), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    small = cv2.resize(large, (size, size - first // 2), interpolation=cv2.INTER_AREA)
    whole = np.empty((size, size, 3), np.float32)
    whole[first // 2 :] = small
    whole[: first // 2] = small[0].mean(axis=0)
    return whole


def build_stage(
    dice: Dice,
    size: int,
    backdrop: np.ndarray,
    gradient: float,
    material: Material,
    seamless: bool,
    horizon: float,
    elevation: float,
    light_x: float,
) -> Stage:
    """Draw an empty set.

    Args:
        backdrop: sRGB 0 to 255 [3].
        gradient: how much darker the backdrop gets to one side, 0 to 1; 0 for an even one.
        horizon: share of the height, from the top.
        light_x: −1 if the light comes from the left, 1 from the right, 0 from above.
    """
    rows = (np.arange(size, dtype=np.float32) + 0.5)[:, None] / size
    columns = (np.arange(size, dtype=np.float32) + 0.5)[None] / size
    tilt = 0.0 if dice.chance(0.6) else dice.uniform(-0.012, 0.012)
    line = horizon + tilt * (columns - 0.5)
    wall = _wall(dice, backdrop, gradient, rows, columns, horizon, light_x)
    top = perspective(material.texture, size, horizon * size, elevation, dice.uniform(-0.1, 0.1))
    falloff = 1 + 0.10 * light_x * (columns - 0.5) + 0.08 * (rows - 0.8)
    floor = top * triple(falloff)
    if seamless:
        table = smoothstep(-0.09, 0.09, rows - line)
    else:
        table = np.clip((rows - line) * size + 0.5, 0, 1)
        edge = dice.uniform(0.85, 1.08)  # the table's far edge catches light, or does not
        near_edge = np.exp(-np.maximum(rows - line, 0) * size / 1.6)
        floor *= triple(1 + (edge - 1) * near_edge)
        wall *= triple(1 - 0.10 * np.exp(-np.maximum(line - rows, 0) / 0.05))
    picture = wall + (floor - wall) * triple(table)
    vignette = 1 - dice.uniform(0, 0.16) * ((columns - 0.5) ** 2 + (rows - 0.5) ** 2) * 2
    ends = ((horizon - 0.5 * tilt) * size, (horizon + 0.5 * tilt) * size)
    return Stage(picture * triple(vignette), table.astype(np.float32), ends)


def _wall(
    dice: Dice,
    colour: np.ndarray,
    gradient: float,
    rows: np.ndarray,
    columns: np.ndarray,
    horizon: float,
    light_x: float,
) -> np.ndarray:
    """The backdrop: float32 [H, W, 3]."""
    glow_x, glow_y = 0.5 + 0.22 * light_x + dice.normal(0.05), horizon * dice.uniform(0.35, 0.9)
    distance = (columns - glow_x) ** 2 + (rows - glow_y) ** 2
    glow = np.exp(-distance / dice.uniform(0.12, 0.4))
    tone = 1 + dice.uniform(0.02, 0.12) * (glow - 0.5)
    if gradient > 0:
        tone = tone - gradient * smoothstep(0.0, 1.0, 1 - rows / horizon) + 0.25 * gradient
    lifted = triple(tone) * colour
    # What would be brighter than white washes out instead.
    return np.where(lifted > 235, 235 + (lifted - 235) * 0.5, lifted)
