"""What can be measured on one picture. Every measure passes on the rendered truth; a test sees to it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from packshot_pocket.renderer import BACKDROPS, Scene

_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
#: Backdrop is what lies further than this above the horizon, in pixels; table the same below.
_HORIZON_MARGIN_PX = 6
#: Halo is looked for from 2 pixels outside of the product, past its own edge, to 6.
_RIM_PX = (2, 6)
#: Horizons are looked for between these parts of the height, tilted by at most that part.
_LOOKED_AT, _MAX_TILT = (0.2, 0.92), 0.06
#: A difference of colours (Lab, 0 to 255) that nobody would overlook.
_CLEAR_CONTRAST = 25.0
#: How far from the line its border is followed, as a part of the height.
_FOLLOWED = 0.06


def brightness(picture: np.ndarray) -> np.ndarray:
    """Luma, float32 [H, W], 0 to 255."""
    return picture.astype(np.float32) @ _GREY_WEIGHTS


def psnr(truth: np.ndarray, picture: np.ndarray, region: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, of uint8 [H, W, 3] pictures, over bool [H, W]."""
    error = (truth.astype(np.float64) - picture) ** 2
    mean = error.mean() if region is None else error[region].mean()
    return float(10 * np.log10(255**2 / max(mean, 1e-6)))


def laplacian_energy(picture: np.ndarray, region: np.ndarray) -> float:
    """Sum of the squared Laplacian of the brightness over bool [H, W]: how much fine texture there is."""
    laplacian = cv2.Laplacian(brightness(picture), cv2.CV_32F)
    return float((laplacian[region].astype(np.float64) ** 2).sum())


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask bool [H, W] and everything within some pixels of it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


@dataclass(frozen=True, slots=True)
class Horizon:
    """The line between backdrop and table.

    Attributes:
        rows: float64 [W], the straight line that fits best, in pixels from the top.
        deviation: mean distance of what was found from that line, as a part of the height.
        contrast: mean difference of the colours above and below, 0 to 255; small if there is no line.
    """

    rows: np.ndarray
    deviation: float
    contrast: float


def find_horizon(picture: np.ndarray, product: np.ndarray) -> Horizon:
    """Find the straight border that divides the picture best, then where it really runs.

    Args:
        picture: uint8 [H, W, 3].
        product: bool [H, W]; what is hidden behind it is not looked for.

    A border is where the mean colours of two bands, one above and one below, differ. Bands, since a grain
    of wood is a strong edge but no border. Of lines that are almost as good as the best the uppermost
    is taken: tables have joints and reflections, backdrops have none.
    """
    height, width = product.shape
    contrast = _border_contrast(picture, max(4, height // 24))
    free = ~grown(product, max(4, height // 24))
    seen = np.flatnonzero(free.mean(axis=0) > 0.3)
    tilts = np.arange(-_MAX_TILT * height, _MAX_TILT * height + 1, 2.0)
    middles = np.arange(height * _LOOKED_AT[0], height * _LOOKED_AT[1])
    lines = middles[:, None, None] + tilts[:, None] * (seen / width - 0.5)
    at = np.clip(np.rint(lines).astype(np.int64), 0, height - 1)
    # Capped: a border is one all along, and not just where it is strong.
    values = np.where(free[at, seen], np.minimum(contrast[at, seen], _CLEAR_CONTRAST), 0)
    score = values.sum(axis=2) / np.maximum(free[at, seen].sum(axis=2), len(seen) // 4)
    best = score.max(axis=1)
    middle = int(np.argmax(best >= 0.8 * best.max()))
    # From the first good line on to the best one next to it.
    middle += int(np.argmax(best[middle : middle + height // 16]))
    line = lines[middle, int(score[middle].argmax())]
    return _followed(contrast, free, seen, line)


def _followed(contrast: np.ndarray, free: np.ndarray, seen: np.ndarray, line: np.ndarray) -> Horizon:
    """Where the border is strongest near a line, column by column."""
    height, width = contrast.shape
    reach = max(3, round(_FOLLOWED * height))
    near = np.rint(line).astype(np.int64) + np.arange(-reach, reach + 1)[:, None]
    near = np.clip(near, 0, height - 1)
    # Nearest to the line where the border is equally strong.
    strength = np.where(free[near, seen], contrast[near, seen], -1) - 0.1 * np.abs(near - line)
    found, chosen = near[strength.argmax(axis=0), np.arange(len(seen))], strength.max(axis=0)
    visible = chosen > 0
    if visible.sum() < 8:
        return Horizon(np.full(width, float(line.mean())), 0.0, 0.0)
    fit = np.polynomial.Polynomial.fit(seen[visible], found[visible], 1)
    distance = np.abs(found[visible] - fit(seen[visible]))
    rows = fit(np.arange(width))
    return Horizon(rows, float(distance.mean() / height), float(chosen[visible].mean()))


def _border_contrast(picture: np.ndarray, band: int) -> np.ndarray:
    """How the mean Lab colours of the bands above and below each pixel differ: float32 [H, W]."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    smooth = cv2.blur(lab, (9, 1))
    padded = np.pad(smooth, ((band + 1, band), (0, 0), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0)
    height = picture.shape[0]
    middle = sums[band : band + height]
    above = (middle - sums[:height]) / band
    below = (sums[2 * band : 2 * band + height] - middle) / band
    return np.linalg.norm(above - below, axis=2)


@dataclass(frozen=True, slots=True)
class Regions:
    """Backdrop and table of a picture without the product: bool [H, W] each."""

    backdrop: np.ndarray
    table: np.ndarray


def regions(horizon: Horizon, product: np.ndarray) -> Regions:
    """What lies clearly above and clearly below a horizon."""
    rows = np.arange(len(product))[:, None]
    free = ~grown(product, 4)
    line = horizon.rows[None]
    return Regions((rows < line - _HORIZON_MARGIN_PX) & free, (rows > line + _HORIZON_MARGIN_PX) & free)


def backdrop_name(rgb: np.ndarray) -> str:
    """Which named backdrop a mean colour is nearest to, float [3], 0 to 255.

    Brightness counts half in Lab: a backdrop that runs into the dark, or lies in the shade, keeps its name.
    """
    colours = np.array([rgb, *BACKDROPS.values()], np.float32)[None] / 255
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0] * (0.5, 1, 1)
    distance = np.linalg.norm(lab[1:] - lab[0], axis=1)
    return tuple(BACKDROPS)[int(distance.argmin())]


def shadow_ratio(picture: np.ndarray, scene: Scene) -> float:
    """Brightness just under the product over that of the table beside it; NaN if neither is to be seen."""
    truth = scene.truth
    if not (truth.shadow_region.any() and truth.beside_region.any()):
        return float("nan")
    light = brightness(picture)
    return float(light[truth.shadow_region].mean() / max(light[truth.beside_region].mean(), 1.0))


def rim_gradient(picture: np.ndarray, product: np.ndarray) -> float:
    """Mean gradient of the brightness just outside of a product, bool [H, W]: a halo is a steep one."""
    light = brightness(picture)
    down, across = cv2.Sobel(light, cv2.CV_32F, 0, 1), cv2.Sobel(light, cv2.CV_32F, 1, 0)
    inner, outer = _RIM_PX
    rim = grown(product, outer) & ~grown(product, inner)
    return float(np.hypot(down, across)[rim].mean() / 8)


def edge_f1(edges: np.ndarray, wanted: np.ndarray, tolerance_px: int = 2) -> float:
    """F1 of edges against the wanted ones, bool [H, W] each; a few pixels aside still counts.

    1 if neither has any.
    """
    if not wanted.any() and not edges.any():
        return 1.0
    precision = (edges & grown(wanted, tolerance_px)).sum() / max(edges.sum(), 1)
    recall = (wanted & grown(edges, tolerance_px)).sum() / max(wanted.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))
