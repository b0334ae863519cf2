"""Named colours, as sRGB 0 to 255."""

from __future__ import annotations

import numpy as np

from packshot_pocket.renderer.dice import Dice

Rgb = tuple[int, int, int]

BACKDROPS: dict[str, Rgb] = {
    "red": (196, 44, 48),
    "orange": (235, 128, 44),
    "yellow": (244, 204, 72),
    "green": (72, 148, 84),
    "teal": (28, 132, 134),
    "blue": (52, 98, 192),
    "purple": (122, 76, 166),
    "pink": (240, 168, 188),
    "beige": (222, 202, 174),
    "white": (240, 240, 240),
    "grey": (150, 151, 153),
    "black": (30, 30, 32),
}

#: What a name also goes by in captions.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson red", "bright red"),
    "orange": ("orange", "bright orange"),
    "yellow": ("yellow", "sunny yellow", "warm yellow"),
    "green": ("green", "leaf green"),
    "teal": ("teal", "turquoise"),
    "blue": ("blue", "royal blue"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "pastel pink", "soft pink"),
    "beige": ("beige", "cream", "sand coloured"),
    "white": ("white", "clean white", "pure white"),
    "grey": ("grey", "gray", "neutral grey"),
    "black": ("black", "dark black"),
}

_WOODS: dict[str, Rgb] = {"light": (205, 165, 118), "": (168, 120, 78), "dark": (96, 64, 44)}


def shade_of(dice: Dice, rgb: Rgb, spread: float = 5.0) -> np.ndarray:
    """A colour near ``rgb``: float32 [3]."""
    common = dice.normal(spread)
    return np.clip(np.array([c + common + dice.normal(spread * 0.5) for c in rgb], np.float32), 6, 248)


def wood(dice: Dice) -> tuple[str, np.ndarray]:
    """A word for a wood (it may be empty) and its colour."""
    word = dice.choice(tuple(_WOODS))
    return word, shade_of(dice, _WOODS[word], 7.0)


def product_colour(dice: Dice) -> np.ndarray:
    """Any colour that things are made in: float32 [3], linear light 0 to 1."""
    value = dice.uniform(0.08, 0.95) ** 1.4
    saturation = dice.uniform(0.0, 0.95) if dice.chance(0.7) else dice.uniform(0, 0.08)
    hue = dice.uniform(0, 6)
    offsets = np.array([5.0, 3.0, 1.0]) + hue
    k = offsets % 6
    rgb = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.clip(rgb, 0.015, 0.9).astype(np.float32) ** 1.3


def to_linear(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0 to 255 → linear light 0 to 1, by the square law that :func:`to_display` undoes."""
    return np.square(np.asarray(rgb, np.float32) * np.float32(1 / 255))


def to_display(light: np.ndarray) -> np.ndarray:
    """Linear light → sRGB 0 to 255, highlights rolled off softly: float32."""
    knee = 0.75
    over = np.maximum(light - knee, 0)
    rolled = np.clip(light, 0, knee) + over * (1 - knee) / (over + (1 - knee))
    return 255 * np.sqrt(rolled)
