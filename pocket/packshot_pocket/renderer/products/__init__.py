"""The kinds of products, by the name that truths and captions use."""

from __future__ import annotations

from collections.abc import Callable

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.products.containers import bottle, can, dispenser, jar
from packshot_pocket.renderer.products.design import Design
from packshot_pocket.renderer.products.goods import book, carton, handbag, headphones, lamp, shoe, watch
from packshot_pocket.renderer.products.vessels import cup, drinking_glass, mug, plant_pot, vase

PRODUCTS: dict[str, Callable[[Dice], Design]] = {
    "mug": mug,
    "cup": cup,
    "glass": drinking_glass,
    "bottle": bottle,
    "jar": jar,
    "can": can,
    "soap dispenser": dispenser,
    "plant pot": plant_pot,
    "vase": vase,
    "box": carton,
    "book": book,
    "handbag": handbag,
    "shoe": shoe,
    "headphones": headphones,
    "watch": watch,
    "lamp": lamp,
}
