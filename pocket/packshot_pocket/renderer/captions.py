"""Captions: the same facts in many words."""

from __future__ import annotations

import re

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.palette import SYNONYMS
from packshot_pocket.renderer.scene import LightSide

_OPENINGS = (
    "studio photo of {p}",
    "product photo of {p}",
    "a photo of {p}",
    "{p}",
    "catalogue picture of {p}",
    "professional product photography of {p}",
    "a packshot of {p}",
    "{p}, product photography",
)
_TABLES = (
    " on {m}",
    " on a {m} table",
    " on a {m} surface",
    " standing on {m}",
    ", {m} table top",
    " on {m}",
)
_BACKDROPS = (
    ", {b} background",
    ", {b} backdrop",
    " in front of a {b} background",
    " against a {b} wall",
    " with a {b} background",
    ", {b} background",
)
_SEAMLESS = (
    " on a seamless {b} background",
    ", seamless {b} backdrop",
    " on plain {b}",
    " on a {b} studio background",
    ", {b} background, seamless",
)
_LIGHTS: dict[LightSide, tuple[str, ...]] = {
    "left": (", light from the left", ", lit from the left", ", key light left"),
    "right": (", light from the right", ", lit from the right", ", key light right"),
    "above": (", light from above", ", top light", ", lit from above"),
}
_SOFT = (", soft shadows", ", soft light", ", softbox light", ", diffuse light")
_HARD = (", hard light", ", crisp shadow", ", hard shadows")
_ENDINGS = (
    ", high quality",
    ", studio lighting",
    ", sharp focus",
    ", photorealistic",
    ", 4k",
    ", commercial",
)
_ADJECTIVES = ("elegant ", "modern ", "small ", "new ", "beautiful ", "simple ", "handmade ", "classic ")
_PRODUCT_WORDS: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "coffee mug", "ceramic mug"),
    "cup": ("cup", "cup and saucer", "cup of coffee"),
    "glass": ("glass", "drinking glass"),
    "bottle": ("bottle",),
    "jar": ("jar", "cosmetics jar"),
    "can": ("can", "tin can"),
    "soap dispenser": ("soap dispenser", "pump bottle"),
    "plant pot": ("potted plant", "plant pot"),
    "vase": ("vase", "ceramic vase"),
    "box": ("box", "carton", "package"),
    "book": ("book",),
    "handbag": ("handbag", "leather bag", "bag"),
    "shoe": ("shoe", "sneaker"),
    "headphones": ("headphones", "pair of headphones"),
    "watch": ("watch", "wrist watch"),
    "lamp": ("lamp", "table lamp"),
}


def write_caption(
    dice: Dice,
    product: str,
    backdrop: str,
    gradient: bool,
    table: str,
    seamless: bool,
    light: LightSide,
    hard: bool,
) -> str:
    """Say what a scene shows.

    Args:
        table: the material's words.
        seamless: table and backdrop are one sheet, so the table goes unmentioned.
    """
    noun = "product" if dice.chance(0.35) else dice.choice(_PRODUCT_WORDS[product])
    adjective = dice.choice(_ADJECTIVES) if dice.chance(0.2) else ""
    article = dice.choice(("a ", "a ", "the ", ""))
    text = dice.choice(_OPENINGS).format(p=f"{article}{adjective}{noun}")
    colour = dice.choice(SYNONYMS[backdrop])
    if gradient:
        colour = f"{colour} gradient"
    if seamless:
        text += dice.choice(_SEAMLESS).format(b=colour)
    else:
        parts = [dice.choice(_TABLES).format(m=table), dice.choice(_BACKDROPS).format(b=colour)]
        if dice.chance(0.15):
            parts.reverse()
        # People leave things out, and a model must cope; an evaluation asks for what it judges.
        if dice.split == "train" and dice.chance(0.15):
            parts.pop()
        text += "".join(parts)
    if dice.chance(0.55):
        text += dice.choice(_LIGHTS[light])
    if dice.chance(0.4):
        text += dice.choice(_HARD if hard else _SOFT)
    for _ in range(int(dice.rng.integers(0, 3))):
        text += dice.choice(_ENDINGS)
    text = re.sub(r"\ba (?=[aeiou])", "an ", text.strip(" ,"))
    return text.capitalize() if dice.chance(0.3) else text
