"""Catalogue scenes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from packshot_pocket.renderer.captions import write_caption
from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.gbuffer import View
from packshot_pocket.renderer.lighting import Light
from packshot_pocket.renderer.materials import MATERIALS, Material, plain_sheet
from packshot_pocket.renderer.noise import triple
from packshot_pocket.renderer.palette import BACKDROPS, shade_of, to_linear
from packshot_pocket.renderer.placing import Placed, light_up, over, place
from packshot_pocket.renderer.products import PRODUCTS
from packshot_pocket.renderer.scene import LightSide, Scene, Split, StudioTruth
from packshot_pocket.renderer.shadows import cast_shadow, contact_shadow, mirror_image
from packshot_pocket.renderer.stage import Stage, build_stage

_STREAM = 1
_SIDES: dict[LightSide, float] = {"left": -1.0, "right": 1.0, "above": 0.0}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was drawn by lot for a scene, before any pixel."""

    product: str
    backdrop: str
    colour: np.ndarray
    gradient: float
    material: Material
    seamless: bool
    light: LightSide
    direction: np.ndarray
    hard: bool
    elevation: float
    horizon: float


def render_studio(seed: int, size: int = 256, split: Split = "train") -> Scene:
    """Render a catalogue scene.

    Args:
        seed: at least 0; the same arguments give the same scene.
        size: of the square picture, in pixels.
    """
    dice = Dice(seed, split, _STREAM)
    plan = _draw_lots(dice)
    design = PRODUCTS[plan.product](dice)
    view = _camera(dice, design.half_width, design.height, plan, size)
    stage = build_stage(
        dice, size, plan.colour, plan.gradient, plan.material, plan.seamless,
        plan.horizon, plan.elevation, _SIDES[plan.light],
    )  # fmt: skip
    placed = place(design, view, size)
    shadow, cast = _shadows(dice, plan, placed, stage, size)
    floor = stage.picture * triple(1 - shadow)
    light, behind = _product_light(dice, plan, floor)
    layer = light_up(placed, light, behind)
    if plan.material.gloss > 0.01:
        mirrored = mirror_image(layer, view, plan.material.blur * size)
        amount = triple(plan.material.gloss * stage.table)
        floor = floor + (mirrored[..., :3] - floor * triple(mirrored[..., 3])) * amount
    picture = over(layer, floor) + np.float32(dice.uniform(0.3, 1.2)) * dice.rng.standard_normal(
        (size, size, 1), dtype=np.float32
    )
    image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    caption = write_caption(
        dice,
        plan.product,
        plan.backdrop,
        plan.gradient > 0.1,
        plan.material.words,
        plan.seamless,
        plan.light,
        plan.hard,
    )
    alpha = np.rint(np.clip(layer[..., 3], 0, 1) * 255).astype(np.uint8)
    own = layer[..., :3] / triple(np.maximum(layer[..., 3], 1e-3)) * triple(alpha > 0)
    foreground = np.clip(np.rint(own), 0, 255).astype(np.uint8)
    return Scene(image, caption, alpha, foreground, _truth(plan, stage, view, image, alpha, cast))


def _draw_lots(dice: Dice) -> _Plan:
    product, backdrop = dice.choice(tuple(PRODUCTS)), dice.choice(tuple(BACKDROPS))
    colour = shade_of(dice, BACKDROPS[backdrop])
    seamless = dice.chance(0.15)
    if seamless:
        material = plain_sheet(dice, backdrop, colour * np.float32(dice.uniform(0.92, 1.03)))
    else:
        material = MATERIALS[dice.choice(tuple(MATERIALS))](dice)
    light = dice.choice(tuple(_SIDES))
    side = _SIDES[light] * dice.uniform(0.45, 1.0) + (0 if _SIDES[light] else dice.uniform(-0.15, 0.15))
    direction = np.array([side, dice.uniform(0.6, 1.0), dice.uniform(-0.6, 0.25)], np.float32)
    direction /= np.linalg.norm(direction)
    elevation = math.radians(dice.uniform(4, 20))
    horizon = 0.66 - 0.5 * (elevation - 0.07) + dice.normal(0.02)
    gradient = dice.uniform(0.25, 0.5) if dice.chance(0.25) else 0.0
    return _Plan(
        product,
        backdrop,
        colour,
        gradient,
        material,
        seamless,
        light,
        direction,
        dice.chance(0.35),
        elevation,
        horizon,
    )


def _camera(dice: Dice, half_width: float, height: float, plan: _Plan, size: int) -> View:
    """The product fills a third to two thirds of the picture and stands in front of the horizon."""
    base = dice.uniform(max(plan.horizon + 0.1, 0.74), 0.9)
    room = min(0.72, base - 0.06)
    tall = dice.uniform(0.34, 0.66)
    scale = min(tall / max(height, 2 * half_width * 0.85), room / height, 0.86 / (2 * half_width))
    x = 0.5 + dice.uniform(-1, 1) * min(0.12, max(0.0, 0.46 - half_width * scale))
    return View(scale * size, x * size, base * size, plan.elevation)


def _shadows(
    dice: Dice, plan: _Plan, placed: Placed, stage: Stage, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """How much darker the set gets, and the cast shadow alone: float32 [size, size] each."""
    contact = contact_shadow(placed.buffer.footprint, placed.view, size)
    softness = dice.uniform(0.25, 0.5) if plan.hard else dice.uniform(0.8, 1.6)
    cast = cast_shadow(placed.alpha, placed.view, plan.direction, softness)
    strength = dice.uniform(0.45, 0.6) if plan.hard else dice.uniform(0.34, 0.48)
    clear = 1 - 0.5 * placed.buffer.transmission  # glass lets light through
    total = 1 - (1 - strength * clear * cast) * (1 - dice.uniform(0.68, 0.84) * contact)
    return total * stage.table, cast * stage.table


def _product_light(dice: Dice, plan: _Plan, floor: np.ndarray) -> tuple[Light, np.ndarray]:
    """The light on the product, and what is seen through it.

    Some products are lit as on an amateur's photo, since that is where they come from in use: there
    a product tells nothing about the set that is to be painted around it.
    """
    strip = dice.uniform(0.3, 1.0) if dice.chance(0.7) else 0.0
    softness = dice.uniform(0.12, 0.25) if plan.hard else dice.uniform(0.25, 0.7)
    key = np.array([1.0, 0.98, 0.95], np.float32) * dice.uniform(0.75, 1.0)
    if dice.chance(0.4):
        angle, grey = dice.uniform(-math.pi, math.pi), dice.uniform(0.1, 0.6)
        direction = np.array([math.sin(angle), dice.uniform(0.4, 1.2), abs(math.cos(angle))], np.float32)
        room = np.array([1.0, 1.0, 1.0], np.float32) * grey + dice.rng.normal(0, 0.04, 3).astype(np.float32)
        tones = np.sort(dice.texture().uniform(60, 220, (2, 2, 1)), axis=0)[::-1] * room / room.mean()
        foreign = cv2.resize(tones.astype(np.float32), floor.shape[1::-1])
        return Light(
            direction / np.linalg.norm(direction), key, softness, room * 1.2, room, room * 0.7, strip
        ), foreign
    wall, ground = to_linear(plan.colour), to_linear(plan.material.texture.mean(axis=(0, 1)))
    grey = np.float32(dice.uniform(0.35, 0.55))
    sky = np.array([1, 1, 1], np.float32) * grey * 1.15
    # The softbox is a little to the front even where the shadows fall forwards, or it would show in
    # nothing that is glossy.
    direction = np.array([*plan.direction[:2], max(float(plan.direction[2]), 0.2)], np.float32)
    direction /= np.linalg.norm(direction)
    seen_wall, seen_floor = 0.6 * grey + 0.4 * wall, 0.25 * grey + 0.55 * ground
    return Light(direction, key, softness, sky, seen_wall, seen_floor, strip), floor


def _truth(
    plan: _Plan, stage: Stage, view: View, image: np.ndarray, alpha: np.ndarray, cast: np.ndarray
) -> StudioTruth:
    size = len(image)
    away = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    reach = 2 * round(size * 0.008) + 1
    near_line = cv2.erode((stage.table < 0.004).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    backdrop = near_line & away
    table = (cv2.erode((stage.table > 0.996).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0) & away
    under, beside = _contact_regions(alpha, stage.table, cast, view)
    brightness = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    ratio = (
        float(brightness[under].mean() / max(brightness[beside].mean(), 1.0))
        if under.any() and beside.any()
        else 1.0
    )
    mean = image[backdrop].mean(axis=0) if backdrop.any() else plan.colour
    x, y, z = plan.direction.tolist()
    return StudioTruth(
        product=plan.product,
        backdrop=plan.backdrop,
        backdrop_rgb=(float(mean[0]), float(mean[1]), float(mean[2])),
        gradient=plan.gradient > 0.1,
        material=plan.material.name,
        seamless=plan.seamless,
        horizon_rows=stage.horizon_rows,
        light=plan.light,
        light_direction=(x, y, z),
        backdrop_region=backdrop,
        table_region=table,
        shadow_region=under,
        beside_region=beside,
        shadow_ratio=ratio,
    )


def _contact_regions(
    alpha: np.ndarray, table: np.ndarray, cast: np.ndarray, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """Table just below the product's lowest pixels, and table of the same rows well beside it."""
    size = len(alpha)
    solid = alpha >= 128
    lowest = np.where(solid.any(axis=0), size - 1 - np.argmax(solid[::-1], axis=0), -1)
    stands = lowest >= view.y - 0.02 * size
    if not stands.any():
        return np.zeros_like(solid), np.zeros_like(solid)
    rows = np.arange(size)[:, None]
    thick = max(2, round(0.014 * size))
    under = stands[None] & (rows > lowest[None] + 1) & (rows <= lowest[None] + 1 + thick)
    columns = np.nonzero(stands)[0]
    inner = (columns[-1] - columns[0]) * 0.15
    under[:, : int(columns[0] + inner)] = False
    under[:, int(columns[-1] - inner) + 1 :] = False
    band = (rows >= lowest[stands].min()) & (rows <= lowest[stands].max() + 1 + thick)
    taken = (alpha > 0).any(axis=0, keepdims=True).astype(np.uint8)
    around = cv2.dilate(taken, np.ones((1, 2 * round(0.05 * size) + 1), np.uint8)) == 0
    beside = band & around & (cast < 0.04) & (table > 0.99)
    return under & (table > 0.99) & (alpha < 8), beside
