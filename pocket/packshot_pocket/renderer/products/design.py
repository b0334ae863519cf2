"""What every kind of product is made with: its design, surfaces and prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.gbuffer import GBuffer, Surface
from packshot_pocket.renderer.labels import Artwork, label, lettering, pattern
from packshot_pocket.renderer.lathe import Band
from packshot_pocket.renderer.palette import product_colour

LIQUIDS = ((0.55, 0.2, 0.02), (0.35, 0.03, 0.05), (0.75, 0.6, 0.1), (0.1, 0.35, 0.12), (0.7, 0.75, 0.78))
METALS = ((0.8, 0.8, 0.82), (0.85, 0.66, 0.35), (0.85, 0.5, 0.38), (0.22, 0.22, 0.24))


@dataclass(frozen=True, slots=True)
class Design:
    """A product that can be drawn.

    Attributes:
        half_width: the largest |x|, in units; it is less deep than wide.
        height: in units, about 1.
        draw: draws it into a buffer.
    """

    half_width: float
    height: float
    draw: Callable[[GBuffer], None]


def finish(dice: Dice) -> Surface:
    """Ceramic, plastic, lacquer or matte paint of any colour."""
    return Surface(product_colour(dice), gloss=dice.choice((0.15, 0.4, 0.7, 0.9)))


def metal(dice: Dice) -> Surface:
    """Steel, brass, copper or gunmetal, brushed or polished."""
    return Surface(dice.choice(METALS), gloss=dice.uniform(0.45, 0.95), metal=0.95)


def cap_surface(dice: Dice) -> Surface:
    """What caps and lids are made of."""
    return metal(dice) if dice.chance(0.4) else finish(dice)


def glass(dice: Dice) -> Surface:
    """Clear or tinted glass."""
    tint = 0.93 if dice.chance(0.65) else 0.0
    colour = (
        (tint, tint, tint) if tint else dice.choice(((0.45, 0.75, 0.5), (0.75, 0.45, 0.15), (0.4, 0.6, 0.85)))
    )
    return Surface(colour, gloss=0.97, transmission=0.93)


def artwork(
    dice: Dice, aspect: float, kinds: tuple[float, float, float] = (0.35, 0.3, 0.25)
) -> Artwork | None:
    """A pattern, a name, a label, or nothing.

    Args:
        aspect: width over height of the place.
        kinds: probabilities of the three.
    """
    throw = dice.uniform(0, 1)
    for probability, make in zip(kinds, (pattern, lettering, label), strict=True):
        if throw < probability:
            return make(dice, aspect)
        throw -= probability
    return None


def label_band(dice: Dice, radius: float, bottom: float, top: float, share: float = 0.85) -> Band | None:
    """A label round a body, most of the time."""
    if not dice.chance(share):
        return None
    half_angle = dice.shape(0.8, 1.5)
    aspect = 2 * half_angle * radius / (top - bottom)
    return Band(label(dice, aspect), bottom, top, half_angle)
