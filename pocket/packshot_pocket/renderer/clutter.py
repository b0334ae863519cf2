"""What stands in the way on an amateur's photo: rooms, things on the table, hands."""

from __future__ import annotations

import math

import cv2
import numpy as np

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.gbuffer import GBuffer, Surface
from packshot_pocket.renderer.materials import MATERIALS
from packshot_pocket.renderer.noise import fractal_noise
from packshot_pocket.renderer.palette import product_colour, to_display
from packshot_pocket.renderer.products.design import Design
from packshot_pocket.renderer.solids import box, bulge, face, rectangle, rounded, tube
from packshot_pocket.renderer.stage import perspective

_SHIFT = 4


def room(dice: Dice, size: int, horizon: float, elevation: float) -> np.ndarray:
    """A table in a room.

    Args:
        horizon: share of the height where the table ends; below 0 there is nothing but table.

    Returns:
        float32 [size, size, 3], sRGB 0 to 255.
    """
    rng = dice.texture()
    wall = to_display(product_colour(dice) * 0.6 + 0.2)
    picture = np.empty((size, size, 3), np.uint8)
    picture[...] = np.clip(wall, 0, 255)
    reach = max(horizon, 0.05) * size
    for _ in range(int(rng.integers(2, 14))):
        colour = to_display(product_colour(dice)).tolist()
        x, y = rng.uniform(-0.1, 1.1) * size, rng.uniform(0, 1.0) * reach
        w, h = rng.gamma(2, 0.06, 2) * size + 3
        if rng.random() < 0.65:
            corners = np.array([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)])
            cv2.fillPoly(picture, [np.round(corners * 16).astype(np.int32)], colour, cv2.LINE_AA, _SHIFT)
        else:
            cv2.ellipse(
                picture,
                (int(x), int(y)),
                (int(w), int(h)),
                rng.uniform(0, 90),
                0,
                360,
                colour,
                -1,
                cv2.LINE_AA,
            )
    result = picture.astype(np.float32)
    result *= 1 + 0.07 * fractal_noise(rng, size, size, (4, 4), 3)[..., None]
    blur = dice.uniform(0, 0.02) * size
    if blur > 0.5:
        result = cv2.GaussianBlur(result, (0, 0), blur)
    if horizon < 1:
        texture = MATERIALS[dice.choice(tuple(MATERIALS))](dice).texture
        table = perspective(texture, size, max(horizon, 0.0) * size, elevation, dice.uniform(-0.2, 0.2))
        rows = np.arange(size, dtype=np.float32)[:, None] + 0.5
        tilt = dice.uniform(-0.05, 0.05) * (np.arange(size, dtype=np.float32)[None] - size / 2)
        cover = np.clip(rows - horizon * size + tilt + 0.5, 0, 1)[..., None]
        result += (table - result) * cover
    return result


def thing(dice: Dice) -> Design:
    """Something without a name: a slab, a sheet of paper, a pebble, a pen, a cable."""
    kind = int(dice.rng.integers(5))
    surface = Surface(product_colour(dice), gloss=dice.uniform(0.05, 0.8))
    yaw = dice.choice((-1, 1)) * dice.uniform(0.1, 1.2)
    width, depth, height = dice.shape(0.3, 0.7), dice.shape(0.2, 0.6), dice.shape(0.03, 0.3)
    shape = [(dice.uniform(0.25, 0.5), angle) for angle in np.linspace(0, 2 * math.pi, 7)[:-1]]
    path = np.cumsum(dice.rng.normal(0, 0.22, (7, 2)), axis=0)
    path -= path.mean(axis=0)
    path /= max(1.0, float(np.abs(path).max()) / 0.6)

    def draw(buffer: GBuffer) -> None:
        low, high = (-width / 2, 0.0, -depth / 2), (width / 2, height if kind == 0 else 0.004, depth / 2)
        if kind == 0:
            box(buffer, low, high, yaw, (surface, surface, surface))
            buffer.stand_on(rectangle(low, high, yaw))
        elif kind == 1:
            corners = np.insert(rectangle(low, high, yaw), 1, 0.0, axis=1)
            face(buffer, corners, np.array([0.0, 1.0, 0.0]), surface)
        elif kind == 2:
            outline = rounded([(r * math.cos(a), 0.2 + 0.45 * r * math.sin(a)) for r, a in shape])
            bulge(buffer, outline, 0.2, surface)
            buffer.stand_on(np.array([(-0.25, -0.1), (0.25, -0.1), (0.25, 0.1), (-0.25, 0.1)]))
        elif kind == 3:
            tube(buffer, np.array([(-0.5, 0.05), (0.5, 0.05 + 0.3 * math.sin(yaw))]), 0.06, surface)
        else:
            flat = np.stack([path[:, 0], np.zeros(len(path)), path[:, 1]], axis=1)
            points = buffer.view.project(flat)
            x, y = (
                (points[:, 0] - buffer.view.x) / buffer.view.scale,
                (buffer.view.y - points[:, 1]) / (buffer.view.scale * buffer.view.cos),
            )
            tube(buffer, np.stack([x, y], axis=1), 0.03, surface)

    return Design(0.65, 0.5, draw)


def hand(dice: Dice, grip: tuple[float, float]) -> Design:
    """A hand that comes from the side and holds something at the origin.

    Args:
        grip: where the fingers are: half the thing's width, and the height of its middle, in units.
    """
    skin = np.array(dice.choice(((0.78, 0.5, 0.38), (0.6, 0.34, 0.22), (0.34, 0.18, 0.1), (0.85, 0.6, 0.5))))
    surface = Surface(np.clip(skin * dice.uniform(0.85, 1.1), 0, 1).astype(np.float32), gloss=0.2)
    sleeve = Surface(product_colour(dice), gloss=0.05)
    side, droop = dice.choice((-1, 1)), dice.uniform(-0.5, 0.15)
    half, middle = grip
    thick = dice.uniform(0.1, 0.14)
    curl = dice.uniform(0.3, 0.8)

    def draw(buffer: GBuffer) -> None:
        wrist = (side * (half + 0.42), middle - 0.12 + droop * 0.4)
        elbow = (side * (half + 1.6), middle - 0.2 + droop * 1.6)
        tube(buffer, np.array([wrist, elbow]), 0.26, surface)
        tube(
            buffer, np.array([(side * (half + 0.95), (wrist[1] + elbow[1]) / 2 + 0.02), elbow]), 0.36, sleeve
        )
        x = half + 0.02
        palm = [(x - 0.04, middle - 0.2), (x + 0.3, middle - 0.24), (x + 0.5, middle - 0.1 + droop * 0.3)]
        palm += [(x + 0.42, middle + 0.12), (x + 0.2, middle + 0.27), (x - 0.02, middle + 0.2)]
        bulge(buffer, rounded([(side * px, py) for px, py in palm]), 0.16, surface, depth=0.05)
        for finger in range(4):
            y = middle + 0.17 - 0.115 * finger
            reach = half * curl * (0.9, 1.0, 0.95, 0.7)[finger]
            path = [(x + 0.16, y + 0.01), (x, y + 0.015), (x - reach * 0.6, y), (x - reach, y - 0.015)]
            tube(
                buffer,
                np.array([(side * px, py) for px, py in path]),
                thick * (1, 1, 0.95, 0.8)[finger],
                surface,
                depth=0.1,
            )

    return Design(half + 1.7, middle + 0.6, draw)
