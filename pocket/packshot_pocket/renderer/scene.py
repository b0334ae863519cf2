"""What a rendered picture is, and what is known to be true about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

#: ``held_out`` draws from seeds, texture seeds and shape parameters that ``train`` never draws from.
Split = Literal["train", "held_out"]
LightSide = Literal["left", "right", "above"]


@dataclass(frozen=True, slots=True)
class StudioTruth:
    """The facts of a catalogue scene. Regions leave the product out.

    Attributes:
        product: one of :data:`packshot_pocket.renderer.PRODUCTS`.
        backdrop: one of :data:`packshot_pocket.renderer.BACKDROPS`.
        backdrop_rgb: mean of the visible backdrop, 0 to 255.
        gradient: whether the backdrop runs from its colour to a darker one.
        material: one of :data:`packshot_pocket.renderer.MATERIALS`.
        seamless: table and backdrop are one sheet, without a line between them.
        horizon_rows: where table and backdrop meet at the left and at the right edge, in pixels from
            the top. For a seamless scene the middle of the transition.
        light: where the key light comes from, as the caption says it.
        light_direction: unit vector towards the key light: x right, y up, z to the viewer.
        backdrop_region: bool [H, W], the backdrop without the pixels next to the horizon or the product.
        table_region: bool [H, W], the same of the table.
        shadow_region: bool [H, W], table just below the product's base.
        beside_region: bool [H, W], table in the same rows, away from the product and its cast shadow.
        shadow_ratio: mean brightness of ``shadow_region`` over that of ``beside_region``; 1 if one of
            them is empty.
    """

    product: str
    backdrop: str
    backdrop_rgb: tuple[float, float, float]
    gradient: bool
    material: str
    seamless: bool
    horizon_rows: tuple[float, float]
    light: LightSide
    light_direction: tuple[float, float, float]
    backdrop_region: np.ndarray
    table_region: np.ndarray
    shadow_region: np.ndarray
    beside_region: np.ndarray
    shadow_ratio: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A catalogue picture of one product.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        caption: what it shows, in words that vary.
        alpha: uint8 [H, W], how much of each pixel is product.
        foreground: uint8 [H, W, 3], the product's own colours, unmixed; 0 where alpha is 0.
        truth: what an evaluation may hold a generated picture against.
    """

    image: np.ndarray
    caption: str
    alpha: np.ndarray
    foreground: np.ndarray
    truth: StudioTruth

    @property
    def mask(self) -> np.ndarray:
        """bool [H, W], the product; half covered counts, as in ``mask_image``."""
        return self.alpha >= 128


@dataclass(frozen=True, slots=True)
class SnapshotObject:
    """One thing on an amateur's photo.

    Attributes:
        kind: a product kind, or ``hand``.
        mask: bool [H, W], its visible pixels.
        visible: how much that is of what would be in the picture if nothing stood before it, 0 to 1.
        parts: bool [H, W] of parts that a click may mean instead of the whole: a cap, a label, a saucer.
    """

    kind: str
    mask: np.ndarray
    visible: float
    parts: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An amateur's photo: clutter, uneven light, noise.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        objects: what can be cut out, the product first. Masks do not overlap.
    """

    image: np.ndarray
    objects: tuple[SnapshotObject, ...]

    @property
    def mask(self) -> np.ndarray:
        """bool [H, W], the product's visible pixels."""
        return self.objects[0].mask
