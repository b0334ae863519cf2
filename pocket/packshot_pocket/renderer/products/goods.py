"""Everything else: box, book, handbag, shoe, headphones, watch, lamp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.gbuffer import GBuffer, Surface
from packshot_pocket.renderer.labels import label, pattern
from packshot_pocket.renderer.lathe import Band, circle, hollow, lathe, smooth_profile
from packshot_pocket.renderer.palette import product_colour
from packshot_pocket.renderer.products.design import Design, artwork, finish, metal
from packshot_pocket.renderer.solids import arc, box, bulge, rectangle, rounded, tube


def carton(dice: Dice) -> Design:
    """A printed carton."""
    width, depth = dice.shape(0.3, 0.85), dice.shape(0.2, 0.5)
    height = dice.shape(0.5, 1.0)
    yaw = dice.choice((-1, 1)) * dice.shape(0.15, 0.9)
    card = Surface(
        product_colour(dice) if dice.chance(0.75) else (0.42, 0.28, 0.16), gloss=dice.uniform(0.1, 0.5)
    )
    arts = (
        artwork(dice, width / height, (0.25, 0.15, 0.5)),
        artwork(dice, depth / height, (0.1, 0.2, 0.4)),
        artwork(dice, width / depth, (0.1, 0.3, 0.1)),
    )
    low, high = (-width / 2, 0.0, -depth / 2), (width / 2, height, depth / 2)

    def draw(buffer: GBuffer) -> None:
        box(buffer, low, high, yaw, (card, card, card), arts)
        buffer.stand_on(rectangle(low, high, yaw))

    return Design(float(np.hypot(width, depth)) / 2, height, draw)


def book(dice: Dice) -> Design:
    """A book that stands, its pages or its spine to the side."""
    width, thick = dice.shape(0.6, 0.8), dice.shape(0.06, 0.22)
    yaw = dice.choice((-1, 1)) * dice.shape(0.2, 0.8)
    cover = Surface(product_colour(dice), gloss=dice.uniform(0.1, 0.6))
    paper = Surface((0.75, 0.72, 0.64), gloss=0.05)
    arts = (label(dice, width), None, None)
    if dice.chance(0.5):
        arts = (pattern(dice, width), None, None)
    shell, spine_seen = 0.018, dice.chance(0.5)

    def draw(buffer: GBuffer) -> None:
        z = thick / 2
        low, high = (-width / 2, 0.0), (width / 2, 1.0)
        box(buffer, (*low, -z), (*high, -z + shell), yaw, (cover, cover, cover))
        edge = cover if spine_seen else paper
        inset = 0.0 if spine_seen else 0.02
        inner = (-width / 2 + inset, 0.015, -z + shell), (width / 2 - inset, 1.0 - 0.02, z - shell)
        box(buffer, *inner, yaw, (edge, edge, paper))
        box(buffer, (*low, z - shell), (*high, z), yaw, (cover, cover, cover), arts)
        buffer.stand_on(rectangle((-width / 2, 0, -z), (width / 2, 1, z), yaw))

    return Design(width / 2 + thick / 2, 1.0, draw)


def handbag(dice: Dice) -> Design:
    """A bag with a flap, a clasp and a handle."""
    wide, narrow = dice.shape(0.5, 0.62), dice.shape(0.68, 1.0)
    top, rise = dice.shape(0.5, 0.66), dice.shape(0.2, 0.34)
    leather = Surface(product_colour(dice), gloss=dice.uniform(0.2, 0.6))
    flap = leather if dice.chance(0.6) else finish(dice)
    print_ = artwork(dice, 1.6, (0.35, 0.1, 0.0))
    clasp, drop = metal(dice), dice.shape(0.35, 0.6)
    thickness = dice.shape(0.03, 0.055)
    stitch = Surface(np.asarray(leather.colour) * 0.45, gloss=0.1)

    def draw(buffer: GBuffer) -> None:
        upper = wide * narrow
        tube(
            buffer, arc((0, top * 0.93), (upper * 0.62, rise + 0.06), 0, 180), thickness, leather, depth=-0.08
        )
        body = rounded([(-wide, 0.0), (wide, 0.0), (wide, 0.1), (upper, top), (-upper, top), (-wide, 0.1)])
        bulge(buffer, body, 0.13, leather, print_)
        buffer.begin_part()
        low = top * (1 - drop)
        cover = rounded(
            [
                (-upper * 1.01, top + 0.01),
                (upper * 1.01, top + 0.01),
                (upper * 0.97, low),
                (-upper * 0.97, low),
            ]
        )
        bulge(buffer, cover, 0.05, flap, depth=0.05)
        seam = rounded(
            [
                (-upper * 0.9, top - 0.04),
                (upper * 0.9, top - 0.04),
                (upper * 0.87, low + 0.04),
                (-upper * 0.87, low + 0.04),
            ]
        )
        tube(buffer, seam, 0.012, stitch, depth=0.05, closed=True)
        bulge(
            buffer,
            rounded([(-0.05, low - 0.04), (0.05, low - 0.04), (0.05, low + 0.05), (-0.05, low + 0.05)], 2),
            0.03,
            clasp,
            depth=0.06,
        )
        buffer.stand_on(
            np.array([(-wide * 0.95, -0.14), (wide * 0.95, -0.14), (wide * 0.95, 0.02), (-wide * 0.95, 0.02)])
        )

    return Design(wide, top + rise, draw)


def shoe(dice: Dice) -> Design:
    """A sneaker from the side."""
    side = dice.choice((-1, 1))
    collar, toe = dice.shape(0.42, 0.62), dice.shape(0.2, 0.27)
    upper, sole = finish(dice), Surface((0.8, 0.8, 0.78), gloss=0.2)
    if dice.chance(0.3):
        sole = finish(dice)
    accent, lace = finish(dice), Surface((0.82, 0.82, 0.8), gloss=0.1)
    thick = dice.shape(0.08, 0.14)
    stripe, print_ = dice.shape(-0.15, 0.15), artwork(dice, 2.0, (0.25, 0.0, 0.0))
    stripes = int(dice.rng.integers(0, 4))

    def draw(buffer: GBuffer) -> None:
        def flipped(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
            return [(side * x, y) for x, y in points]

        inner = flipped(
            [(-0.52, collar - 0.02), (-0.3, collar + 0.03), (-0.1, collar - 0.05), (-0.3, collar - 0.16)]
        )
        bulge(buffer, rounded(inner), 0.05, replace(accent, gloss=0.1), depth=-0.06)
        body = [
            (-0.62, thick * 0.5),
            (-0.62, collar * 0.6),
            (-0.58, collar),
            (-0.46, collar + 0.02),
            (-0.3, collar - 0.1),
        ]
        body += [
            (-0.1, collar - 0.02),
            (0.12, collar * 0.72),
            (0.34, toe + 0.08),
            (0.6, toe),
            (0.68, thick * 0.8),
        ]
        bulge(buffer, rounded(flipped([*body, (0.66, 0.02), (-0.6, 0.02)])), 0.2, upper, print_)
        cap = [(0.36, toe + 0.05), (0.6, toe - 0.01), (0.68, thick), (0.66, 0.03), (0.42, 0.03)]
        bulge(buffer, rounded(flipped(cap)), 0.12, accent)
        for number in range(stripes):
            x = stripe + 0.1 * number - 0.1
            tube(buffer, np.array(flipped([(x - 0.1, thick), (x, collar * 0.62)])), 0.045, accent, depth=0.04)
        for number in range(4):
            t = number / 4
            x, y = -0.05 + 0.32 * t, collar - 0.07 - (collar - toe - 0.1) * t
            tube(buffer, np.array(flipped([(x - 0.05, y - 0.09), (x + 0.02, y)])), 0.028, lace, depth=0.04)
        buffer.begin_part()
        rubber = [
            (-0.64, 0.0),
            (-0.66, thick),
            (-0.2, thick * 0.95),
            (0.3, thick * 0.85),
            (0.68, thick),
            (0.7, 0.04),
            (0.62, 0.0),
        ]
        bulge(buffer, rounded(flipped(rubber), 2), 0.04, sole, depth=0.05)
        buffer.stand_on(np.array([(-0.6, -0.2), (0.62, -0.2), (0.62, 0.05), (-0.6, 0.05)]))

    return Design(0.7, collar + 0.03, draw)


def headphones(dice: Dice) -> Design:
    """Headphones that stand on their cups."""
    half, cup = dice.shape(0.34, 0.46), dice.shape(0.19, 0.26)
    shell, cushion = finish(dice), Surface((0.05, 0.05, 0.055), gloss=0.3)
    band = finish(dice) if dice.chance(0.5) else shell
    ring, thickness = metal(dice), dice.shape(0.06, 0.1)
    squash = dice.shape(0.55, 0.8)

    def draw(buffer: GBuffer) -> None:
        tube(buffer, arc((0, 0.42), (half, 0.54), -12, 192), thickness, band)
        tube(buffer, arc((0, 0.42), (half * 0.9, 0.49), 35, 145), thickness * 0.8, cushion, depth=0.02)
        for side in (-1, 1):
            tube(
                buffer,
                np.array([(side * half, 0.34), (side * half * 1.0, 0.56)]),
                thickness * 0.6,
                ring,
                depth=0.03,
            )
            x = side * half
            inner = arc((x - side * cup * 0.35, cup * 1.25), (cup * squash, cup * 1.25), 0, 360)
            bulge(buffer, inner, 0.1, cushion, depth=0.02)
            outer = arc((x + side * 0.02, cup * 1.25), (cup * squash, cup * 1.2), 0, 360)
            bulge(buffer, outer, 0.14, shell, depth=0.05)
            tube(
                buffer,
                arc((x + side * 0.02, cup * 1.25), (cup * squash * 0.6, cup * 0.75), 0, 360),
                0.02,
                ring,
                depth=0.06,
            )
            foot = [
                (x - cup * 0.5, -0.1),
                (x + cup * 0.5, -0.1),
                (x + cup * 0.5, 0.06),
                (x - cup * 0.5, 0.06),
            ]
            buffer.stand_on(np.array(foot))

    return Design(half + cup * 0.85, 1.0, draw)


def watch(dice: Dice) -> Design:
    """A wrist watch, upright, its strap closed behind it."""
    radius, strap_width = dice.shape(0.24, 0.32), dice.shape(0.28, 0.38)
    case, strap = metal(dice), Surface(product_colour(dice), gloss=dice.uniform(0.1, 0.5))
    if dice.chance(0.3):
        strap = case
    light = dice.chance(0.5)
    dial = Surface((0.8, 0.8, 0.78) if light else tuple(0.25 * product_colour(dice)), gloss=0.5)
    hand = Surface((0.03, 0.03, 0.03) if light else (0.8, 0.8, 0.8), gloss=0.3)
    hour, minute = dice.uniform(0, 360), dice.uniform(0, 360)
    square = dice.chance(0.3)

    def ring(share: float) -> np.ndarray:
        r = radius * share
        if square:
            return rounded([(-r, 0.5 - r), (r, 0.5 - r), (r, 0.5 + r), (-r, 0.5 + r)], 3)
        return arc((0, 0.5), (r, r), 0, 360)

    def draw(buffer: GBuffer) -> None:
        w, back = strap_width / 2, replace(strap, gloss=0.1)
        bulge(
            buffer,
            rounded([(-w * 0.8, 0.05), (w * 0.8, 0.05), (w * 0.8, 0.95), (-w * 0.8, 0.95)], 2),
            0.05,
            back,
            depth=-0.3,
        )
        body = [
            (-w * 0.85, 0.0),
            (w * 0.85, 0.0),
            (w, 0.3),
            (w, 0.7),
            (w * 0.85, 1.0),
            (-w * 0.85, 1.0),
            (-w, 0.7),
            (-w, 0.3),
        ]
        bulge(buffer, rounded(body, 2), 0.1, strap)
        buffer.begin_part()
        tube(buffer, np.array([(radius * 0.9, 0.5), (radius * 1.12, 0.5)]), 0.06, case)
        bulge(buffer, ring(1.0), 0.06, case, depth=0.05)
        bulge(buffer, ring(0.82), 0.01, dial, depth=0.05)
        for tick in range(12):
            angle = np.radians(30 * tick)
            way = np.array([np.cos(angle), np.sin(angle)]) * radius
            tube(buffer, np.array([(0, 0.5)]) + np.stack([way * 0.68, way * 0.76]), 0.016, hand, depth=0.05)
        for degrees, length, thick in ((hour, 0.4, 0.026), (minute, 0.64, 0.018)):
            tip = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]) * radius * length
            tube(buffer, np.array([(0, 0.5), (tip[0], 0.5 + tip[1])]), thick, hand, depth=0.05)
        buffer.stand_on(np.array([(-w, -0.3), (w, -0.3), (w, 0.02), (-w, 0.02)]))

    return Design(max(radius * 1.15, strap_width / 2), 1.0, draw)


def lamp(dice: Dice) -> Design:
    """A table lamp with a fabric shade."""
    wide, narrow = dice.shape(0.32, 0.46), dice.shape(0.5, 0.9)
    split, foot = dice.shape(0.48, 0.6), dice.shape(0.16, 0.26)
    base = metal(dice) if dice.chance(0.4) else finish(dice)
    shade = Surface(product_colour(dice) if dice.chance(0.4) else (0.8, 0.76, 0.66), gloss=0.03)
    belly = dice.shape(0.05, 0.22)
    print_ = pattern(dice, 2.0) if dice.chance(0.25) else None

    def draw(buffer: GBuffer) -> None:
        outline = [
            (foot, 0),
            (foot, 0.025),
            (0.06, 0.06),
            (belly, split * 0.45),
            (belly, split * 0.6),
            (0.03, split),
        ]
        lathe(buffer, smooth_profile([*outline, (0.025, split + 0.1)]), base)
        buffer.stand_on(circle(foot))
        buffer.begin_part()
        band = Band(print_, split, 1.0, np.pi / 2) if print_ else None
        lathe(buffer, np.array([(wide, split), (wide * narrow, 1.0)]), shade, band=band)
        dark = replace(shade, colour=np.asarray(shade.colour) * 0.7)
        hollow(
            buffer,
            np.array([(wide * narrow * 0.98, 1.0), (wide * 0.95, split + 0.1), (0.0, split + 0.1)]),
            dark,
        )

    return Design(wide, 1.0, draw)
