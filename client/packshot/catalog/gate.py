"""The quality gate: what is measured on a picture, and whether that is good enough to deliver."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np

from packshot.arrays import check_uint8
from packshot.canvas import Composition
from packshot.checks import number
from packshot.edges import canny, contour
from packshot.errors import expected

#: Edges this near each other are the same edge.
_TOLERANCE_PX = 2
#: Half the width of the band along the outline that counts as the rim.
_RIM_PX = 3
#: A background whose luma spreads less than this is blank.
_BLANK_SPREAD = 2.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a picture must pass to be delivered. None: measured, but not asked for.

    Attributes:
        max_product_difference: see :class:`Measures`; the others likewise.
        max_object_expansion: 0 and more.
        min_edge_f1_inside: 0 to 1.
        min_edge_f1_rim: 0 to 1.
        max_boundary_gradient: 0 and more.
        max_clipped: 0 to 1.
        allow_blank: whether the scene may be one even area. A plain background is, always.
        min_mask_iou: 0 to 1.

    Raises:
        InvalidArgument: a value is out of its range.
    """

    max_product_difference: float | None = 0.0
    max_object_expansion: float | None = None
    min_edge_f1_inside: float | None = None
    min_edge_f1_rim: float | None = None
    max_boundary_gradient: float | None = None
    max_clipped: float | None = 0.5
    allow_blank: bool = False
    min_mask_iou: float | None = None

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if name == "allow_blank":
                if not isinstance(value, bool):
                    raise expected(f"gate.{name}", value, "true or false")
            elif value is not None:
                high = 1.0 if name.startswith("min_") or name == "max_clipped" else None
                object.__setattr__(self, name, number(f"gate.{name}", value, 0, high))


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured on one picture, at the size it was painted.

    Attributes:
        product_difference: greatest difference, 0 to 255, between the picture and the product inside
            it, where nothing else shines through.
        object_expansion: how much larger SAM finds the product in the picture than it is:
            (|found ∪ product| − |product|) / |product|. 0: the scene has grown nothing on to it. None
            if SAM was not asked, or finds nothing; where it was asked, that fails any threshold.
        edge_f1_inside: F1 of the picture's Canny edges against the composition's inside the product,
            edges within 2 pixels counting as the same. 1 if there are none.
        edge_f1_rim: the same against the product's outline, in the band of 3 pixels on both sides of it:
            a clean outline gives nearly 1, a scene that runs into the product less.
        boundary_gradient: mean luma gradient (Sobel, 8-bit levels a pixel) just outside the product,
            over that of the whole scene; a halo or a seam makes it large. None if the scene is even.
        clipped: share of the scene that is pure black or pure white.
        blank: whether the scene is one even area.
        mask_iou: SAM's predicted IoU of the cut-out; None if it is not SAM's.
    """

    product_difference: float
    object_expansion: float | None
    edge_f1_inside: float
    edge_f1_rim: float
    boundary_gradient: float | None
    clipped: float
    blank: bool
    mask_iou: float | None

    def failures(self, thresholds: Thresholds, plain: bool) -> tuple[str, ...]:
        """What is not good enough, as ``name: measured, limit``.

        Args:
            thresholds: what is asked for.
            plain: whether the background is one colour on purpose; it is blank and clipped, then, and SAM
                is not asked.
        """
        found = []
        for name, limit in asdict(thresholds).items():
            measure = name.partition("_")[2]
            if plain and measure in ("clipped", "blank", "boundary_gradient", "object_expansion"):
                continue
            value = getattr(self, measure)
            if limit is None:
                continue
            if value is None:
                if measure == "object_expansion":
                    found.append(f"{measure}: SAM finds no product, expected {_ask(name, limit)}")
                continue
            wrong = value > limit if name.startswith("max_") else value < limit
            if name == "allow_blank":
                wrong = value and not limit
            if wrong:
                found.append(f"{measure}: {_short(value)}, expected {_ask(name, limit)}")
        return tuple(found)

    @property
    def score(self) -> float:
        """How good a picture is among others of the same product; higher is better.

        A clean rim and nothing grown on to the product; both are shares.
        """
        return self.edge_f1_rim - (self.object_expansion or 0.0) - self.clipped


def measure(
    picture: np.ndarray,
    composition: Composition,
    found: np.ndarray | None = None,
    mask_iou: float | None = None,
) -> Measures:
    """Measure a finished picture.

    Args:
        picture: uint8 [H, W, 3], the product pasted back.
        composition: what it was painted from, of the same size.
        found: bool [H, W], what SAM takes for the product in the picture.
        mask_iou: SAM's predicted IoU of the cut-out.
    """
    check_uint8("picture", picture, *composition.image.shape)
    alpha = composition.alpha
    product, scene = alpha > 0, alpha == 0
    difference = np.abs(picture.astype(np.int16) - composition.foreground)[alpha == 255]
    # cv2's own Canny on what is there; the outlines that `canny` adds would always be found.
    edges, wanted = canny(picture) > 0, canny(composition.image) > 0
    rim = _near(product, _RIM_PX) & _near(scene, _RIM_PX)
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    outline = contour(product.astype(np.uint8) * np.uint8(255)) > 0
    return Measures(
        product_difference=float(difference.max(initial=0)),
        object_expansion=None if found is None else float((found & ~product).sum() / product.sum()),
        edge_f1_inside=edge_f1(edges, wanted, product & ~rim),
        edge_f1_rim=edge_f1(edges, outline, rim),
        boundary_gradient=_boundary_gradient(luma, product),
        # A product may leave nothing but its own soft rim to the scene.
        clipped=float(np.isin(luma[scene], (0, 255)).mean()) if scene.any() else 0.0,
        blank=bool(scene.any() and luma[scene].std() < _BLANK_SPREAD),
        mask_iou=mask_iou,
    )


def edge_f1(found: np.ndarray, wanted: np.ndarray, area: np.ndarray) -> float:
    """F1 of two edge maps inside an area, bool [H, W] each; 1 if there is nothing to find."""
    found, wanted = found & area, wanted & area
    if not found.any() and not wanted.any():
        return 1.0
    precision = (found & _near(wanted, _TOLERANCE_PX)).sum() / max(1, found.sum())
    recall = (wanted & _near(found, _TOLERANCE_PX)).sum() / max(1, wanted.sum())
    return float(2 * precision * recall / max(1e-9, precision + recall))


def _boundary_gradient(luma: np.ndarray, product: np.ndarray) -> float | None:
    smooth = cv2.GaussianBlur(luma, (3, 3), 0).astype(np.float32)
    gradient = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) / 8
    # Two pixels off, the product's own outline is out of both filters' reach.
    outside = ~_near(product, 2)
    ring = _near(product, 2 + _RIM_PX) & outside
    usual = float(gradient[outside].mean()) if outside.any() else 0.0
    return float(gradient[ring].mean()) / usual if usual > 0 and ring.any() else None


def _near(area: np.ndarray, pixels: int) -> np.ndarray:
    """bool [H, W]: within so many pixels of an area, diagonals counting as one."""
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.dilate(area.astype(np.uint8), kernel) > 0


def _short(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"


def _ask(name: str, limit: Any) -> str:
    if name == "allow_blank":
        return "a scene"
    return f"at {'most' if name.startswith('max_') else 'least'} {limit:g}"
