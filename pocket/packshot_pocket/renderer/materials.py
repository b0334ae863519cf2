"""Table tops, generated: seen from straight above, before perspective and light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.noise import fractal_noise, grain, smooth_noise, smoothstep, triple
from packshot_pocket.renderer.palette import BACKDROPS, SYNONYMS, shade_of, wood

#: Of a texture. Wider than high: tables are.
HEIGHT, WIDTH = 288, 384


@dataclass(frozen=True, slots=True)
class Material:
    """A table top.

    Attributes:
        name: one of :data:`MATERIALS`.
        words: how a caption calls it: "dark wood", "white marble".
        texture: float32 [HEIGHT, WIDTH, 3], sRGB 0 to 255.
        gloss: how strongly it mirrors what stands on it, 0 to 1.
        blur: of the mirror image, in shares of the picture's height.
    """

    name: str
    words: str
    texture: np.ndarray
    gloss: float
    blur: float


def make_wood(dice: Dice) -> Material:
    """Planks or one board, with grain and rings."""
    word, colour = wood(dice)
    rng = dice.texture()
    v = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]
    warp = fractal_noise(rng, HEIGHT, WIDTH, (3, 1.5), 3)
    planks = int(rng.integers(1, 6))
    which = np.minimum((v * planks).astype(int), planks - 1)[:, 0]
    offset, tone = rng.uniform(0, 20, planks), rng.normal(0, 0.06, planks)
    phase = v * rng.uniform(12, 28) + rng.uniform(0.5, 1.3) * warp + offset[which][:, None]
    rings = np.abs((phase % 1) - 0.5) * 2
    fibre = smooth_noise(rng, HEIGHT, WIDTH, HEIGHT * 0.9, 9) * 0.5 + smooth_noise(rng, HEIGHT, WIDTH, 70, 4)
    relief = 0.10 * (rings - 0.5) + 0.035 * fibre + 0.05 * smooth_noise(rng, HEIGHT, WIDTH, 5, 2)
    relief += tone[which][:, None]
    seam = np.abs((v * planks + 0.5) % 1 - 0.5) * HEIGHT / planks
    if planks > 1:
        relief -= 0.5 * np.exp(-((seam / 0.9) ** 2))
    warmth = np.array([0.9, 1.0, 1.15], np.float32)
    texture = colour * (1 + relief[..., None] * warmth)
    name = f"{word} wood".strip()
    words = dice.choice((name, name, name.replace("wood", "wooden")))
    return Material("wood", words, texture, dice.uniform(0.02, 0.22), 0.03)


def make_marble(dice: Dice) -> Material:
    """Clouds and veins on white, grey or black."""
    dark = dice.chance(0.25)
    rng = dice.texture()
    base = np.array([42, 42, 45] if dark else [232, 230, 226], np.float32) + dice.normal(4)
    vein = np.array([205, 200, 190] if dark else [104, 102, 102], np.float32)
    clouds = fractal_noise(rng, HEIGHT, WIDTH, (3, 4), 3)
    bend = fractal_noise(rng, HEIGHT, WIDTH, (2, 3), 5, 0.6)
    fine = fractal_noise(rng, HEIGHT, WIDTH, (4, 5), 4, 0.6)
    presence = smoothstep(-0.6, 1.2, smooth_noise(rng, HEIGHT, WIDTH, 3, 4))
    lines = 0.8 * np.exp(-np.abs(bend) / 0.09) * presence + 0.35 * np.exp(-np.abs(fine) / 0.05) * (
        1 - presence
    )
    lines += 0.25 * np.exp(-np.abs(bend) / 0.3) * presence
    texture = triple(1 + 0.03 * clouds) * base
    texture = texture + (vein - base) * np.clip(lines, 0, 1)[..., None] * (0.7 if dark else 0.8)
    return Material(
        "marble", "black marble" if dark else "white marble", texture, dice.uniform(0.15, 0.45), 0.012
    )


def make_concrete(dice: Dice) -> Material:
    """Cloudy grey with pores."""
    rng = dice.texture()
    base = dice.uniform(118, 178) * np.array([1.0, 0.99, 0.965], np.float32)
    tone = 0.08 * fractal_noise(rng, HEIGHT, WIDTH, (3, 4), 6, 0.65) + 0.018 * grain(rng, HEIGHT, WIDTH)
    pores = smoothstep(1.6, 2.0, smooth_noise(rng, HEIGHT, WIDTH, 34, 66))
    texture = triple(1 + tone - 0.4 * pores) * base
    return Material(
        "concrete", dice.choice(("concrete", "grey concrete", "raw concrete")), texture, 0.03, 0.04
    )


def make_fabric(dice: Dice) -> Material:
    """A coarsely woven cloth, rumpled and lit from the side."""
    name = dice.choice(("white", "beige", "grey", "blue", "green", "pink", "red", "teal"))
    rng = dice.texture()
    colour = shade_of(dice, BACKDROPS[name])
    threads = rng.uniform(16, 24)
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) / HEIGHT
    wobble = 0.012 * smooth_noise(rng, HEIGHT, WIDTH, 10, 14)
    weave = np.cos(2 * np.pi * threads * (u + wobble)) * np.cos(2 * np.pi * threads * (v + wobble))
    streaks = smooth_noise(rng, HEIGHT, WIDTH, 3, threads * 2) + smooth_noise(
        rng, HEIGHT, WIDTH, threads * 2, 3
    )
    height = fractal_noise(rng, HEIGHT, WIDTH, (1.5, 6), 2, 0.5)
    folds = cv2.Sobel(cv2.GaussianBlur(height, (0, 0), 3), cv2.CV_32F, 1, 0, scale=2.5)
    relief = 0.07 * weave + 0.02 * streaks + rng.uniform(0.2, 0.34) * np.clip(folds, -1, 1)
    cloth = dice.choice(("fabric", "linen", "linen cloth", "fabric"))
    texture = triple(1 + relief) * colour
    return Material("fabric", f"{dice.choice(SYNONYMS[name][:1])} {cloth}", texture, 0.0, 0.05)


def make_tiles(dice: Dice) -> Material:
    """Square or long glazed tiles with grout."""
    name = dice.choice(("white", "white", "teal", "blue", "green", "pink", "grey", "beige", "black"))
    rng = dice.texture()
    colour = shade_of(dice, BACKDROPS[name])
    down = int(rng.integers(3, 6))
    across = down * (WIDTH / HEIGHT) / (2.0 if rng.random() < 0.4 else 1.0)
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    row = np.floor(v / HEIGHT * down)
    shifted = u / WIDTH * across + (0.5 * (row % 2) if rng.random() < 0.5 else 0)
    edge_v = (0.5 - np.abs(v / HEIGHT * down % 1 - 0.5)) * HEIGHT / down
    edge_u = (0.5 - np.abs(shifted % 1 - 0.5)) * WIDTH / across
    edge = np.minimum(edge_v, edge_u)
    tones = rng.normal(0, 0.035, (down + 1, int(across) + 3)).astype(np.float32)
    tone = tones[row.astype(int), np.floor(shifted).astype(int)]
    shine = 0.05 * smoothstep(4.5, 2.2, edge) * (1 if colour.mean() < 150 else -1)
    glazed = colour * (1 + tone + 0.015 * fractal_noise(rng, HEIGHT, WIDTH, (6, 8), 2) + shine)[..., None]
    grout = np.float32(dice.uniform(150, 205) if colour.mean() > 60 else 110) * (
        1 + 0.04 * grain(rng, HEIGHT, WIDTH)
    )
    fill = triple(smoothstep(1.6, 2.8, edge))
    texture = glazed * fill + triple(grout) * (1 - fill)
    return Material(
        "tiles",
        f"{name} {dice.choice(('tiles', 'ceramic tiles', 'tiled'))}",
        texture,
        dice.uniform(0.1, 0.35),
        0.012,
    )


def make_terrazzo(dice: Dice) -> Material:
    """Stone chips in cement."""
    rng = dice.texture()
    base = dice.uniform(205, 232) * np.array([1, 0.99, 0.965], np.float32)
    canvas = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    canvas[...] = base
    chips = np.array(
        [(150, 110, 85), (95, 95, 98), (190, 150, 120), (60, 75, 72), (175, 175, 170), (120, 70, 60)]
    )
    count = int(rng.integers(130, 240))
    places, sizes = rng.uniform(0, 1, (count, 2)) * (WIDTH, HEIGHT), rng.gamma(3.0, 1.3, count) + 1.5
    angles = np.sort(rng.uniform(0, 2 * np.pi, (count, 6)), axis=1)
    spread = rng.uniform(0.6, 1.1, (count, 6, 1)) * sizes[:, None, None]
    corners = places[:, None] + spread * np.stack([np.cos(angles), np.sin(angles)], axis=2)
    colours = chips[rng.integers(0, len(chips), count)] * rng.uniform(0.85, 1.15, (count, 1))
    for polygon, colour in zip(np.round(corners * 16).astype(np.int32), colours.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, polygon, colour, cv2.LINE_AA, 4)
    texture = canvas * triple(1 + 0.012 * grain(rng, HEIGHT, WIDTH))
    return Material(
        "terrazzo",
        dice.choice(("terrazzo", "white terrazzo", "speckled terrazzo")),
        texture,
        dice.uniform(0.05, 0.3),
        0.015,
    )


def make_slate(dice: Dice) -> Material:
    """Dark split stone, lit from the side."""
    rng = dice.texture()
    base = dice.uniform(52, 78) * np.array([0.96, 1.0, 1.04], np.float32)
    height = fractal_noise(rng, HEIGHT, WIDTH, (4, 3), 6, 0.62)
    steps = np.floor(height * 2.5) * 0.25 + 0.6 * height
    relief = np.clip(cv2.Sobel(steps, cv2.CV_32F, 1, 1, scale=0.9), -0.5, 0.5)
    tone = (
        0.10 * fractal_noise(rng, HEIGHT, WIDTH, (3, 4), 3) + 0.5 * relief + 0.03 * grain(rng, HEIGHT, WIDTH)
    )
    texture = triple(1 + tone) * base
    return Material("slate", dice.choice(("slate", "dark slate", "black slate stone")), texture, 0.05, 0.04)


def make_plain(dice: Dice) -> Material:
    """One matte colour."""
    name = dice.choice(tuple(BACKDROPS))
    return plain_sheet(dice, name, shade_of(dice, BACKDROPS[name]))


def plain_sheet(dice: Dice, name: str, colour: np.ndarray) -> Material:
    """A matte sheet of a given colour."""
    texture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    texture[...] = colour
    words = f"{dice.choice(SYNONYMS[name])} {dice.choice(('plain', 'matte', 'plain paper'))}"
    return Material(
        "plain",
        " ".join(reversed(words.rsplit(" ", 1))) if "paper" not in words else words,
        texture,
        0.0,
        0.05,
    )


def make_acrylic(dice: Dice) -> Material:
    """A polished sheet that mirrors."""
    name = dice.choice(("white", "white", "black", "black", "grey", "blue", "pink", "teal"))
    texture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    texture[...] = shade_of(dice, BACKDROPS[name])
    return Material(
        "acrylic",
        f"glossy {name} {dice.choice(('acrylic', 'acrylic glass', 'acrylic'))}",
        texture,
        dice.uniform(0.5, 0.85),
        0.004,
    )


MATERIALS: dict[str, Callable[[Dice], Material]] = {
    "wood": make_wood,
    "marble": make_marble,
    "concrete": make_concrete,
    "fabric": make_fabric,
    "tiles": make_tiles,
    "terrazzo": make_terrazzo,
    "slate": make_slate,
    "plain": make_plain,
    "acrylic": make_acrylic,
}
