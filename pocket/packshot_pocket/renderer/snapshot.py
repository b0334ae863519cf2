"""An amateur's photos of products: rooms, clutter, hands, poor light and a poor camera."""

from __future__ import annotations

import math

import cv2
import numpy as np

from packshot_pocket.renderer.clutter import hand, room, thing
from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.gbuffer import View
from packshot_pocket.renderer.lighting import Light
from packshot_pocket.renderer.noise import smooth_noise, triple
from packshot_pocket.renderer.placing import Placed, light_up, over, place
from packshot_pocket.renderer.products import PRODUCTS
from packshot_pocket.renderer.products.design import Design
from packshot_pocket.renderer.scene import Snapshot, SnapshotObject, Split
from packshot_pocket.renderer.shadows import cast_shadow, contact_shadow, shrink

_STREAM = 2
#: A thing with fewer visible pixels than this share of the picture cannot be asked for.
_SMALLEST = 0.002


def render_snapshot(seed: int, size: int = 256, split: Split = "train") -> Snapshot:
    """Render an amateur's photo of a product.

    Args:
        seed: at least 0; the same arguments give the same photo.
        size: of the square picture, in pixels.
    """
    dice = Dice(seed, split, _STREAM)
    elevation = math.radians(dice.uniform(4, 30) if dice.chance(0.6) else dice.uniform(30, 62))
    horizon = 0.62 - 0.9 * (elevation - 0.07) + dice.uniform(-0.2, 0.2)
    picture = room(dice, size, horizon, elevation)
    light = _light(dice)
    softness, strength = dice.uniform(0.3, 2.0), dice.uniform(0.1, 0.6)
    drawn: list[tuple[str, Placed, np.ndarray]] = []
    for kind, design, view in _arrangement(dice, size, elevation, min(horizon + 0.04, 0.85)):
        placed = place(design, view, size)
        shadow = strength * cast_shadow(placed.alpha, view, light.direction, softness)
        if kind != "hand":
            shadow = 1 - (1 - shadow) * (1 - 0.6 * contact_shadow(placed.buffer.footprint, view, size))
        picture = picture * triple(1 - shadow)
        layer = light_up(placed, light, picture)
        picture = over(layer, picture)
        drawn.append((kind, placed, layer[..., 3]))
    return Snapshot(_photograph(dice, picture), _visible(drawn, size))


def _arrangement(dice: Dice, size: int, elevation: float, far: float) -> list[tuple[str, Design, View]]:
    """What is on the table, from back to front. The product's kind ends in ``*``.

    Args:
        far: share of the height above which nothing stands: there the table ends.
    """
    product = dice.choice(tuple(PRODUCTS))
    design = PRODUCTS[product](dice)
    scale = min(
        dice.uniform(0.28, 0.75) / max(design.height, 1.6 * design.half_width), 0.9 / (2 * design.half_width)
    )
    base = dice.uniform(max(0.5, far, design.height * scale * 0.75), 0.95)
    x = dice.uniform(0.3, 0.7)
    things = [(f"{product}*", design, View(scale * size, x * size, base * size, elevation))]
    for _ in range(int(dice.rng.integers(0, 6))):
        other_kind = dice.choice(tuple(PRODUCTS)) if dice.chance(0.65) else "thing"
        other = PRODUCTS[other_kind](dice) if other_kind != "thing" else thing(dice)
        other_scale = dice.uniform(0.15, 0.5)
        place_x, place_y = dice.uniform(0, 1), dice.uniform(max(0.42, far), 1.1)
        # What stands right in front of the product would leave nothing to cut out.
        if place_y > base and abs(place_x - x) < 0.28:
            place_y = dice.uniform(max(0.42, far), base)
        things.append(
            (other_kind, other, View(other_scale * size, place_x * size, place_y * size, elevation))
        )
    things.sort(key=lambda item: item[2].y)
    if dice.chance(0.2):
        at = next(index for index, item in enumerate(things) if item[0].endswith("*"))
        grip = (min(design.half_width, 0.5), dice.uniform(0.35, 0.6) * design.height)
        things.insert(at + 1, ("hand", hand(dice, grip), things[at][2]))
    return things


def _visible(drawn: list[tuple[str, Placed, np.ndarray]], size: int) -> tuple[SnapshotObject, ...]:
    """Every object's pixels that nothing hides, the product's first."""
    free = np.ones((size, size), bool)
    found: list[SnapshotObject] = []
    for kind, placed, alpha in reversed(drawn):
        whole = alpha >= 0.5
        mask = whole & free
        free &= ~mask
        visible = float(mask.sum() / max(whole.sum(), 1))
        named = SnapshotObject(kind.rstrip("*"), mask, visible, _parts(placed, mask))
        if kind.endswith("*"):
            found.insert(0, named)
        elif mask.mean() > _SMALLEST and kind != "thing":
            found.append(named)
    product = next(kind for kind, _, _ in drawn if kind.endswith("*")).rstrip("*")
    first = next(index for index, item in enumerate(found) if item.kind == product)
    return (found[first], *found[:first], *found[first + 1 :])


def _parts(placed: Placed, mask: np.ndarray) -> tuple[np.ndarray, ...]:
    numbers = placed.buffer.part
    if placed.buffer.parts < 1:
        return ()
    parts = []
    for number in range(1, placed.buffer.parts + 2):
        part = np.zeros(mask.shape, bool)
        part[placed.window] = shrink((numbers == number).astype(np.float32)) >= 0.5
        part &= mask
        if part.mean() > _SMALLEST / 2:
            parts.append(part)
    return tuple(parts)


def _light(dice: Dice) -> Light:
    """Whatever lamp or window there is."""
    angle = dice.uniform(-math.pi, math.pi)
    direction = np.array([math.sin(angle), dice.uniform(0.35, 1.3), 0.7 * math.cos(angle)], np.float32)
    tint = np.array([1 + dice.normal(0.08), 1.0, 1 + dice.normal(0.12)], np.float32)
    room_light = dice.uniform(0.08, 0.5) * np.array(
        [1 + dice.normal(0.1), 1.0, 1 + dice.normal(0.1)], np.float32
    )
    return Light(
        direction=direction / np.linalg.norm(direction),
        key=tint * np.float32(dice.uniform(0.35, 1.1)),
        softness=dice.uniform(0.06, 0.6),
        sky=room_light * 1.2,
        wall=room_light,
        floor=room_light * np.float32(dice.uniform(0.4, 0.9)),
        strip=dice.uniform(0, 0.8) if dice.chance(0.4) else 0.0,
    )


def _photograph(dice: Dice, picture: np.ndarray) -> np.ndarray:
    """Uneven light, a colour cast, blur, noise and JPEG: uint8."""
    size = len(picture)
    uneven = 1 + dice.uniform(0, 0.25) * smooth_noise(dice.rng, size, size, 1, 1)
    cast = 1 + dice.rng.normal(0, 0.07, 3).astype(np.float32)
    picture = picture * triple(np.clip(uneven, 0.3, 1.6)) * (cast * np.float32(dice.uniform(0.75, 1.15)))
    contrast = dice.uniform(0.8, 1.15)
    picture = 110 + (picture - 110) * contrast + dice.uniform(-12, 18)
    if dice.chance(0.5):
        picture = cv2.GaussianBlur(picture, (0, 0), dice.uniform(0.3, 1.4) * size / 256)
    noise = dice.rng.standard_normal(picture.shape, dtype=np.float32)
    picture = picture + np.float32(dice.uniform(0.5, 9)) * noise
    image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    if dice.chance(0.6):
        quality = int(dice.rng.integers(35, 95))
        image = cv2.imdecode(
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
        )
    return np.ascontiguousarray(image)
