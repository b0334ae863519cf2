"""Closed containers: bottle, jar, can, soap dispenser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.gbuffer import GBuffer, Surface
from packshot_pocket.renderer.lathe import Band, circle, lathe, smooth_profile
from packshot_pocket.renderer.products.design import (
    LIQUIDS,
    METALS,
    Design,
    artwork,
    cap_surface,
    finish,
    glass,
    label_band,
    metal,
)
from packshot_pocket.renderer.solids import tube


def bottle(dice: Dice) -> Design:
    """A bottle of glass or plastic, with a cap and mostly a label."""
    radius, neck = dice.shape(0.15, 0.26), dice.shape(0.05, 0.085)
    shoulder, cap_height = dice.shape(0.5, 0.7), dice.shape(0.08, 0.18)
    clear = dice.chance(0.55)
    body = glass(dice) if clear else finish(dice)
    liquid = (
        Surface(dice.choice(LIQUIDS), gloss=0.95, transmission=0.6) if clear and dice.chance(0.7) else None
    )
    level = dice.shape(0.6, 0.95) * shoulder
    cap = cap_surface(dice)
    low, high = dice.shape(0.08, 0.16) * shoulder, dice.shape(0.65, 0.85) * shoulder
    band = label_band(dice, radius, low, high)

    def draw(buffer: GBuffer) -> None:
        top = 1.0 - cap_height
        outline = [
            (radius * 0.93, 0),
            (radius, 0.01),
            (radius, 0.05),
            (radius, shoulder * 0.93),
            (radius, shoulder),
        ]
        outline += [(neck * 1.2, shoulder + 0.13), (neck, shoulder + 0.18), (neck, top)]
        profile = smooth_profile(outline)
        lathe(buffer, profile, body)
        if liquid is not None:
            wet = profile[profile[:, 1] < level] * (0.95, 1)
            lathe(buffer, np.concatenate([wet, [[0, level]]]), liquid)
        if band is not None:
            paper = Surface((0.8, 0.8, 0.8), gloss=0.2)
            _wrap(buffer, radius * 1.003, band, paper, keep=body)
        buffer.begin_part()
        _lid(buffer, neck * 1.25, top, 1.0, cap)
        buffer.stand_on(circle(radius))

    return Design(radius, 1.0, draw)


def jar(dice: Dice) -> Design:
    """A wide jar with a screw lid: jam, cream, spice."""
    radius, height = dice.shape(0.34, 0.48), dice.shape(0.6, 1.0)
    lid_height = dice.shape(0.12, 0.25) * height
    clear = dice.chance(0.5)
    body = glass(dice) if clear else finish(dice)
    filling = Surface(dice.choice(LIQUIDS), gloss=0.6, transmission=dice.uniform(0, 0.4))
    lid, level = cap_surface(dice), dice.shape(0.7, 0.95)
    neck = dice.shape(0.82, 0.98)
    top = height - lid_height
    band = label_band(dice, radius, 0.12 * top, 0.85 * top)

    def draw(buffer: GBuffer) -> None:
        outline = [
            (radius * 0.93, 0),
            (radius, 0.02),
            (radius, 0.08),
            (radius, top * 0.88),
            (radius * neck, top * 0.97),
        ]
        profile = smooth_profile([*outline, (radius * neck, top)])
        lathe(buffer, profile, body)
        if clear:
            wet = profile[profile[:, 1] < level * top] * (0.94, 1)
            lathe(buffer, np.concatenate([wet, [[0, level * top]]]), filling)
        if band is not None:
            _wrap(buffer, radius * 1.003, band, Surface((0.8, 0.8, 0.8), gloss=0.2), keep=body)
        buffer.begin_part()
        _lid(buffer, radius * neck * 1.04, top, height, lid)
        buffer.stand_on(circle(radius * 0.97))

    return Design(radius * 1.05, height, draw)


def can(dice: Dice) -> Design:
    """A drink's or a food can."""
    radius = dice.shape(0.26, 0.42)
    surface = replace(metal(dice), colour=METALS[0])
    print_ = artwork(dice, 2.5, (0.35, 0.15, 0.5))
    coat = replace(finish(dice), gloss=0.75)
    painted = dice.chance(0.8)
    neck = dice.shape(0.86, 1.0)

    def draw(buffer: GBuffer) -> None:
        edge = [(radius * 0.9, 0), (radius * 0.93, 0.0), (radius, 0.05)]
        lathe(buffer, np.array(edge), surface)
        band = Band(print_, 0.05, 0.93, np.pi * 0.55) if print_ else None
        lathe(buffer, np.array([(radius, 0.05), (radius, 0.93)]), coat if painted else surface, band=band)
        lathe(buffer, np.array([(radius, 0.93), (radius * neck, 0.985), (radius * neck, 1.0)]), surface)
        inner = radius * neck
        rim = [(inner, 1.0), (inner * 0.94, 1.0), (inner * 0.92, 0.98), (0, 0.98)]
        lathe(buffer, np.array(rim), surface)
        buffer.stand_on(circle(radius * 0.95))

    return Design(radius, 1.0, draw)


def dispenser(dice: Dice) -> Design:
    """A soap dispenser with a pump."""
    radius, body_top = dice.shape(0.2, 0.3), dice.shape(0.58, 0.7)
    clear = dice.chance(0.35)
    body = glass(dice) if clear else finish(dice)
    soap = Surface(dice.choice(LIQUIDS), gloss=0.8, transmission=0.5)
    pump, side = cap_surface(dice), dice.choice((-1, 1))
    spout = dice.shape(0.16, 0.26)
    band = label_band(dice, radius, 0.1, body_top * 0.75)

    def draw(buffer: GBuffer) -> None:
        outline = [
            (radius * 0.94, 0),
            (radius, 0.015),
            (radius, 0.06),
            (radius, body_top - 0.08),
            (radius, body_top),
        ]
        profile = smooth_profile([*outline, (0.09, body_top + 0.06), (0.08, body_top + 0.08)])
        lathe(buffer, profile, body)
        if clear:
            wet = profile[profile[:, 1] < body_top * 0.8] * (0.94, 1)
            lathe(buffer, np.concatenate([wet, [[0, body_top * 0.8]]]), soap)
        if band is not None:
            _wrap(buffer, radius * 1.003, band, Surface((0.8, 0.8, 0.8), gloss=0.2), keep=body)
        buffer.begin_part()
        _lid(buffer, 0.1, body_top + 0.06, body_top + 0.14, pump)
        _lid(buffer, 0.03, body_top + 0.14, 0.95, pump)
        tube(buffer, np.array([(0, 0.955), (side * spout, 0.955), (side * (spout + 0.02), 0.9)]), 0.055, pump)
        _lid(buffer, 0.07, 0.92, 1.0, pump)
        buffer.stand_on(circle(radius))

    return Design(max(radius, spout + 0.05), 1.0, draw)


def _lid(buffer: GBuffer, radius: float, bottom: float, top: float, surface: Surface) -> None:
    edge = min(0.02, 0.3 * radius)
    outline = [
        (radius, bottom),
        (radius, top - edge),
        (radius - edge * 0.3, top - edge * 0.3),
        (radius - edge, top),
    ]
    lathe(buffer, np.array([*outline, (0, top)]), surface)


def _wrap(buffer: GBuffer, radius: float, band: Band, paper: Surface, keep: Surface) -> None:
    """Paper round a body: where the label ends, the body shows."""
    if keep.transmission == 0:
        # On an opaque body the label can be printed; it goes all the way round.
        lathe(buffer, np.array([(radius, band.bottom), (radius, band.top)]), keep, band=band)
        return
    lathe(
        buffer,
        np.array([(radius, band.bottom), (radius, band.top)]),
        paper,
        band=replace(band, half_angle=np.pi / 2),
    )
