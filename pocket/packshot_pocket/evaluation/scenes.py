"""Whole scenes: colours, materials, horizons, shadows and halos of what was painted, and of the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packshot.parameters import Parameters
from packshot_pocket.evaluation.materials import MaterialNet, read_material
from packshot_pocket.evaluation.painting import Order, Painter, composed
from packshot_pocket.evaluation.pictures import (
    backdrop_name,
    find_horizon,
    regions,
    rim_gradient,
    shadow_ratio,
)
from packshot_pocket.evaluation.report import Measure, Section
from packshot_pocket.evaluation.sheets import write_sheets
from packshot_pocket.renderer import BACKDROPS, Scene, render_studio

#: Less contrast than this between backdrop and table is no line (Lab, 0 to 255).
_VISIBLE_LINE = 8.0
#: How much of the true shadows' darkness must be there: "at most 0.80 where the truth has 0.73".
_SHADOW_KEPT = (1 - 0.80) / (1 - 0.73)
#: Prompts without a colour, and the colours that are then asked not to appear.
_PLAIN_PROMPT = "studio photo of a {product}, product photography"
_UNWANTED = ("red", "blue", "green", "yellow", "white", "black")


@dataclass(frozen=True, slots=True)
class Findings:
    """What one picture shows.

    Attributes:
        backdrop: the name of its colour.
        distance: of the backdrop's mean RGB from the truth's.
        material: of the table, as the classifier reads it.
        deviation: of the horizon from a straight line, as a part of the height; NaN without a line.
        shadow: brightness under the product over that beside it; NaN if it cannot be seen.
        rim: gradient just outside of the product.
    """

    backdrop: str
    distance: float
    material: str
    deviation: float
    shadow: float
    rim: float


def examine(picture: np.ndarray, scene: Scene, materials: MaterialNet) -> Findings:
    """Measure a picture uint8 [H, W, 3] that shows ``scene``, or should."""
    truth = scene.truth
    horizon = find_horizon(picture, scene.mask)
    if truth.seamless or horizon.contrast < _VISIBLE_LINE:
        # Without a line the parts are where the truth has them.
        backdrop, table, deviation = truth.backdrop_region, truth.table_region, float("nan")
    else:
        found = regions(horizon, scene.mask)
        backdrop, table, deviation = found.backdrop, found.table, horizon.deviation
    mean = picture[backdrop].mean(axis=0)
    return Findings(
        backdrop=backdrop_name(mean),
        distance=float(np.linalg.norm(mean - truth.backdrop_rgb)),
        material=read_material(materials, picture, table),
        deviation=deviation,
        shadow=shadow_ratio(picture, scene),
        rim=rim_gradient(picture, scene.mask),
    )


def evaluate_scenes(
    painter: Painter, materials: MaterialNet, output: Path, count: int, parameters: Parameters
) -> Section:
    """Paint ``count`` held-out scenes from their captions around their products; write sheets."""
    scenes = [render_studio(seed, split="held_out") for seed in range(count)]
    orders = [Order(composed(scene), scene.caption, seed=seed) for seed, scene in enumerate(scenes)]
    pictures = painter.paint(orders, parameters)
    found = [examine(picture, scene, materials) for picture, scene in zip(pictures, scenes, strict=True)]
    true = [examine(scene.image, scene, materials) for scene in scenes]
    rows = [
        [order.composition.image, picture, scene.image]
        for order, picture, scene in zip(orders, pictures, scenes, strict=True)
    ]
    captions = [f"{seed}: {scene.caption}" for seed, scene in enumerate(scenes)]
    write_sheets(output, "scenes", rows, ("given", "painted", "rendered"), captions)
    measures = [*scene_measures(scenes, found, true), *_negative(painter, scenes, output, parameters)]
    return Section("scenes", (0, count - 1), measures, parameters.as_dict(), _details(scenes, found))


def scene_measures(
    scenes: Sequence[Scene], found: Sequence[Findings], true: Sequence[Findings]
) -> Iterator[Measure]:
    """The numbers of painted scenes next to those of the rendered ones."""
    n = len(scenes)

    def share(name: str, findings: Sequence[Findings]) -> float:
        right = [
            getattr(one, name) == getattr(scene.truth, name)
            for one, scene in zip(findings, scenes, strict=True)
        ]
        return float(np.mean(right))

    def mean(name: str, findings: Sequence[Findings]) -> float:
        return float(np.nanmean([getattr(one, name) for one in findings]))

    def seen(name: str) -> int:
        return int(np.isfinite([getattr(one, name) for one in found]).sum())

    for name, target in (("backdrop", 0.95), ("material", 0.85)):
        what = {"backdrop": "backdrop colour right", "material": "table material right"}[name]
        yield Measure(f"{what}, share", share(name, found), n, at_least=target, truth=share(name, true))
    yield Measure(
        "backdrop, mean RGB distance", mean("distance", found), n, at_most=15, truth=mean("distance", true)
    )
    lines = sum(not scene.truth.seamless for scene in scenes)
    share_seen = seen("deviation") / max(lines, 1)
    yield Measure("horizon seen where there is one, share", share_seen, lines, at_least=0.9)
    yield Measure(
        "horizon, mean deviation from a straight line, part of the height",
        mean("deviation", found), seen("deviation"), at_most=0.02, truth=mean("deviation", true),
    )  # fmt: skip
    # On black acrylic and marble the truth is lighter under the product, up to six times: its reflection.
    dark = [number for number, one in enumerate(true) if one.shadow < 1]
    shadow, painted = (float(np.nanmean([some[i].shadow for i in dark])) for some in (true, found))
    yield Measure(
        "contact shadow, brightness under over beside the product, where the truth has one",
        painted, len(dark), at_most=1 - _SHADOW_KEPT * (1 - shadow), truth=shadow,
    )  # fmt: skip
    yield Measure(
        "brightness under over beside the product, reflections and all",
        mean("shadow", found), seen("shadow"), truth=mean("shadow", true),
    )  # fmt: skip
    yield Measure(
        "rim gradient over the truth's", mean("rim", found) / mean("rim", true), n, at_most=1.5, truth=1.0
    )


def _negative(
    painter: Painter, scenes: Sequence[Scene], output: Path, parameters: Parameters
) -> Iterator[Measure]:
    """Does a colour stay away when it is asked to? Pairs of the same noise, with and without."""
    chosen = [(scene, colour) for scene, colour in zip(scenes[::3], _UNWANTED * 6, strict=False)]
    orders = [
        Order(
            composed(scene),
            _PLAIN_PROMPT.format(product=scene.truth.product),
            negative_prompt=f"{colour} background" if negative else "",
            seed=seed,
        )
        for negative in (False, True)
        for seed, (scene, colour) in enumerate(chosen)
    ]
    pictures = painter.paint(orders, parameters)
    without, having = pictures[: len(chosen)], pictures[len(chosen) :]
    gains, rows, captions = [], [], []
    for (scene, colour), plain, avoiding in zip(chosen, without, having, strict=True):
        region = scene.truth.backdrop_region
        far = [np.linalg.norm(one[region].mean(axis=0) - BACKDROPS[colour]) for one in (plain, avoiding)]
        gains.append(far[1] - far[0])
        rows.append([plain, avoiding])
        captions.append(f"without {colour}: {gains[-1]:+.0f}")
    write_sheets(output, "negative", rows, ("no negative prompt", "with one"), captions)
    n = len(gains)
    yield Measure(
        "negative prompt: backdrop moves away from the colour, mean RGB",
        float(np.mean(gains)),
        n,
        at_least=10,
    )
    moved = float(np.mean(np.array(gains) > 0))
    yield Measure("negative prompt: pairs that move away, share", moved, n, at_least=0.8)


def _details(scenes: Sequence[Scene], found: Sequence[Findings]) -> list[dict[str, object]]:
    return [
        {
            "seed": seed,
            "caption": scene.caption,
            "backdrop": [scene.truth.backdrop, one.backdrop],
            "material": [scene.truth.material, one.material],
            "distance": round(one.distance, 1),
            "deviation": None if np.isnan(one.deviation) else round(one.deviation, 4),
            "shadow": None if np.isnan(one.shadow) else round(one.shadow, 3),
        }
        for seed, (scene, one) in enumerate(zip(scenes, found, strict=True))
    ]
