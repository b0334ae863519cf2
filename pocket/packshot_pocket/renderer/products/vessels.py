"""Open vessels: mug, cup and saucer, glass, plant pot, vase."""

from __future__ import annotations

import numpy as np

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.gbuffer import GBuffer, Surface
from packshot_pocket.renderer.lathe import Band, circle, hollow, lathe, smooth_profile
from packshot_pocket.renderer.products.design import LIQUIDS, Design, artwork, finish, glass
from packshot_pocket.renderer.solids import arc, bulge, tube

_DRINKS = ((0.09, 0.035, 0.012), (0.25, 0.1, 0.03), (0.5, 0.3, 0.15), (0.75, 0.68, 0.55))


def mug(dice: Dice) -> Design:
    """A mug with one handle, empty or full."""
    radius, base = dice.shape(0.34, 0.46), dice.shape(0.75, 1.0)
    surface, wall = finish(dice), dice.uniform(0.025, 0.05)
    inner = surface if dice.chance(0.4) else finish(dice)
    side, reach = dice.choice((-1, 1)), dice.shape(0.18, 0.28)
    thickness, drink = dice.shape(0.06, 0.1), dice.chance(0.5)
    liquid = Surface(dice.choice(_DRINKS), gloss=0.8)
    print_ = artwork(dice, 2.4)
    low, high = dice.shape(0.18, 0.3), dice.shape(0.72, 0.85)
    bottom = radius * base
    outline = smooth_profile(
        [(bottom * 0.9, 0), (bottom, 0.02), (radius, 0.25), (radius, 0.98), (radius - 0.01, 1.0)]
    )

    def draw(buffer: GBuffer) -> None:
        middle = (side * (radius - 0.02), (low + high) / 2)
        start, stop = (-95, 95) if side > 0 else (85, 275)
        tube(buffer, arc(middle, (reach, (high - low) / 2), start, stop), thickness, surface)
        band = Band(print_, 0.0, 1.0, np.pi / 2) if print_ else None
        lathe(buffer, outline, surface, band=band)
        _inside(buffer, radius - wall, radius * base - wall, inner, liquid if drink else None, 0.82)
        buffer.stand_on(circle(bottom))

    return Design(radius + reach + thickness / 2, 1.0, draw)


def cup(dice: Dice) -> Design:
    """A cup of coffee or tea on its saucer."""
    radius, foot = dice.shape(0.4, 0.52), dice.shape(0.45, 0.65)
    plate = dice.shape(0.68, 0.85)
    height = dice.shape(0.55, 0.75)
    surface = finish(dice) if dice.chance(0.5) else Surface((0.82, 0.81, 0.78), gloss=0.85)
    saucer = surface if dice.chance(0.7) else finish(dice)
    side = dice.choice((-1, 1))
    liquid = Surface(dice.choice(_DRINKS), gloss=0.7)
    drink, print_ = dice.chance(0.85), artwork(dice, 2.4, (0.25, 0.1, 0.0))
    curve = dice.shape(0.75, 1.0)

    def draw(buffer: GBuffer) -> None:
        dish = [(plate * 0.5, 0), (plate * 0.55, 0.01), (plate, 0.085), (plate, 0.1)]
        lathe(buffer, smooth_profile(dish), saucer)
        hollow(
            buffer,
            np.array([(plate * 0.985, 0.1), (plate * 0.6, 0.035), (plate * 0.4, 0.03), (0, 0.03)]),
            saucer,
        )
        buffer.stand_on(circle(plate * 0.55))
        buffer.begin_part()
        middle = (side * radius * 0.9, 0.04 + height * 0.6)
        start, stop = (-100, 95) if side > 0 else (85, 280)
        tube(buffer, arc(middle, (0.2, height * 0.28), start, stop), 0.055, surface)
        bottom = radius * foot
        outline = [(bottom, 0.03), (bottom, 0.06), (radius * curve, 0.3 * height), (radius, 0.8 * height)]
        outline += [(radius, 0.04 + height), (radius - 0.01, 0.045 + height)]
        band = Band(print_, 0.05, height, np.pi / 2) if print_ else None
        lathe(buffer, smooth_profile(outline), surface, band=band)
        _inside(
            buffer,
            radius - 0.025,
            radius * 0.7,
            surface,
            liquid if drink else None,
            height * 0.9,
            height + 0.04,
        )

    return Design(max(plate, radius * 0.9 + 0.24), height + 0.05, draw)


def drinking_glass(dice: Dice) -> Design:
    """A tumbler or a stemmed glass, empty or full."""
    surface = glass(dice)
    stemmed, full = dice.chance(0.35), dice.chance(0.6)
    radius, base = dice.shape(0.26, 0.4), dice.shape(0.65, 0.95)
    level = dice.shape(0.45, 0.85)
    tint = dice.choice(LIQUIDS)
    liquid = Surface(tint, gloss=0.9, transmission=0.55)
    top = dice.shape(0.7, 0.95)

    def draw(buffer: GBuffer) -> None:
        low = 0.45 if stemmed else 0.05
        if stemmed:
            foot = [
                (radius * 0.85, 0),
                (radius * 0.85, 0.015),
                (0.05, 0.05),
                (0.025, 0.1),
                (0.025, 0.38),
                (0.06, 0.44),
            ]
            lathe(buffer, smooth_profile(foot), surface)
            bowl = [(0.05, 0.43), (radius, 0.5), (radius * 1.02, 0.7), (radius * top, 1.0)]
        else:
            bowl = [(radius * base * 0.95, 0), (radius * base, 0.015), (radius, 1.0), (radius, 1.0)]
        outline = smooth_profile(bowl)
        lathe(buffer, outline, surface)
        if full:
            surface_at = low + (1.0 - low) * level
            wet = outline[(outline[:, 1] >= low) & (outline[:, 1] <= surface_at)].copy()
            wet[:, 0] *= 0.94
            lathe(buffer, np.concatenate([wet, [[0, wet[-1, 1]]]]), liquid)
        rim = float(outline[-1, 0])
        hollow(buffer, np.array([(rim - 0.01, 1.0), (rim - 0.02, 0.96)]), surface)
        buffer.stand_on(circle(radius * (0.85 if stemmed else base)))

    return Design(radius * 1.05, 1.0, draw)


def plant_pot(dice: Dice) -> Design:
    """A potted plant."""
    radius, base = dice.shape(0.28, 0.4), dice.shape(0.6, 0.85)
    height = dice.shape(0.38, 0.5)
    surface = Surface((0.45, 0.17, 0.08), gloss=0.15) if dice.chance(0.35) else finish(dice)
    print_ = artwork(dice, 2.0, (0.4, 0.05, 0.0))
    count = int(dice.rng.integers(7, 16))
    wide = dice.shape(0.07, 0.17)
    leaves = [
        (dice.normal(0.33), dice.uniform(0.3, 0.62), dice.uniform(0.7, 1.15) * wide, i) for i in range(count)
    ]
    hue = dice.uniform(0.0, 0.12)
    greens = [
        Surface((0.06 + hue * dice.uniform(0, 1), dice.uniform(0.12, 0.34), 0.05), gloss=0.35) for _ in leaves
    ]

    def draw(buffer: GBuffer) -> None:
        outline = [
            (radius * base, 0),
            (radius * base, 0.01),
            (radius * 0.95, height * 0.8),
            (radius, height * 0.8),
        ]
        outline += [(radius, height), (radius, height)]
        band = Band(print_, 0.0, height, np.pi / 2) if print_ else None
        lathe(buffer, smooth_profile(outline), surface, band=band)
        soil = np.array([(radius * 0.9, height), (radius * 0.88, height * 0.9), (0, height * 0.92)])
        hollow(buffer, soil, Surface((0.05, 0.03, 0.02), gloss=0.05))
        buffer.stand_on(circle(radius * base))
        buffer.begin_part()
        for (lean, length, half, _), green in zip(leaves, greens, strict=True):
            bulge(buffer, _leaf(height * 0.9, lean, length, half), half * 0.8, green)

    return Design(0.62, 1.0, draw)


def vase(dice: Dice) -> Design:
    """A vase with a narrow neck."""
    belly, neck = dice.shape(0.26, 0.42), dice.shape(0.08, 0.16)
    foot, lip = dice.shape(0.14, 0.24), dice.shape(1.1, 1.7)
    at = dice.shape(0.3, 0.55)
    surface = glass(dice) if dice.chance(0.15) else finish(dice)
    print_ = artwork(dice, 1.0, (0.5, 0.0, 0.0)) if surface.transmission == 0 else None
    rim = neck * lip

    def draw(buffer: GBuffer) -> None:
        outline = [(foot, 0), (foot, 0.01), (belly, at - 0.15), (belly, at + 0.1), (neck, 0.78), (neck, 0.9)]
        outline += [(rim, 1.0), (rim, 1.0)]
        band = Band(print_, 0.0, 1.0, np.pi / 2) if print_ else None
        lathe(buffer, smooth_profile(outline), surface, band=band)
        dark = Surface(np.asarray(surface.colour) * 0.3, gloss=0.1)
        hollow(buffer, np.array([(rim - 0.02, 1.0), (neck * 0.8, 0.86), (0, 0.8)]), dark)
        buffer.stand_on(circle(foot))

    return Design(max(belly, rim), 1.0, draw)


def _inside(
    buffer: GBuffer,
    rim: float,
    floor: float,
    surface: Surface,
    liquid: Surface | None,
    level: float,
    top: float = 1.0,
) -> None:
    """The wall inside, down to a liquid or to the floor."""
    if liquid is None:
        hollow(buffer, np.array([(rim, top), (floor, 0.08), (0, 0.06)]), surface)
        return
    hollow(buffer, np.array([(rim, top), (rim * 0.98, level)]), surface)
    hollow(buffer, np.array([(rim * 0.98, level), (rim * 0.97, level - 0.005), (0, level - 0.005)]), liquid)


def _leaf(base: float, lean: float, length: float, half: float) -> np.ndarray:
    along = np.linspace(0, 1, 12)
    width = half * np.sin(np.pi * along**0.8) ** 0.9
    x = lean * along**1.5
    y = base + length * along * (1 - 0.35 * abs(lean) * along)
    return np.concatenate([np.stack([x - width, y], 1), np.stack([x + width, y], 1)[::-1]])
