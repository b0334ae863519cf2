"""The ControlNet: do drawn edges appear, more so with a greater scale, and are others rare?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from packshot.edges import canny
from packshot.parameters import Parameters
from packshot_pocket.evaluation.painting import Order, Painter, composed
from packshot_pocket.evaluation.pictures import edge_f1, grown
from packshot_pocket.evaluation.report import Measure, Section
from packshot_pocket.evaluation.sheets import write_sheets
from packshot_pocket.renderer import render_studio

SCALES = (0.0, 0.5, 1.0)
#: The client's Canny thresholds; an edge is strong above these.
_STRONG = (200, 400)
#: Edges this close to a drawn one are that one; in pixels.
_NEAR_PX = 4
#: The product is pasted, so its own edges, and those at its rim, prove nothing.
_PRODUCT_PX = 5


def evaluate_control(painter: Painter, output: Path, count: int, parameters: Parameters) -> Section:
    """Draw all edges of ``count`` held-out scenes, and ask for the scenes at three scales; write sheets."""
    scenes = [render_studio(seed, split="held_out") for seed in range(count)]
    controls = [canny(scene.image, alpha=scene.alpha) for scene in scenes]
    orders = [
        Order(composed(scene), scene.caption, control, seed=seed)
        for seed, (scene, control) in enumerate(zip(scenes, controls, strict=True))
    ]
    free = [~grown(scene.mask, _PRODUCT_PX) for scene in scenes]
    drawn = [(control > 0) & where for control, where in zip(controls, free, strict=True)]
    # A seamless scene of one colour has nothing to draw.
    told = [number for number, edges in enumerate(drawn) if edges.sum() >= 100]
    pictures: dict[float, list[np.ndarray]] = {}
    scores: dict[float, float] = {}
    for scale in SCALES:
        pictures[scale] = painter.paint(orders, replace(parameters, controlnet_conditioning_scale=scale))
        f1s = [edge_f1(_edges(pictures[scale][n]) & free[n], drawn[n]) for n in told]
        scores[scale] = float(np.mean(f1s))
    measures = [Measure(f"edge F1, scale {scale:g}", scores[scale], len(told)) for scale in SCALES]
    half, full = scores[0.5] - scores[0.0], scores[1.0] - scores[0.5]
    measures += [
        Measure("edge F1 rises from scale 0 to 0.5", half, len(told), at_least=0.02),
        Measure("edge F1 rises from scale 0.5 to 1", full, len(told), at_least=0.0),
        Measure("edge F1 rises from scale 0 to 1", half + full, len(told), at_least=0.1),
    ]
    for scale in SCALES:
        new = [_new_share(pictures[scale][n], drawn[n], free[n]) for n in range(count)]
        name = f"new strong edges off the drawn ones, share of pixels, scale {scale:g}"
        bound = 0.002 if scale == 1 else None
        measures.append(Measure(name, float(np.mean(new)), count, at_most=bound, truth=0.0))
    rows = [
        [cv2.cvtColor(controls[n], cv2.COLOR_GRAY2RGB), *(pictures[scale][n] for scale in SCALES)]
        for n in range(count)
    ]
    titles = ("edges", *(f"scale {scale:g}" for scale in SCALES))
    write_sheets(output, "controlnet", rows, titles, [scene.caption for scene in scenes])
    return Section("controlnet", (0, count - 1), measures, parameters.as_dict())


def _edges(picture: np.ndarray) -> np.ndarray:
    return canny(picture) > 0


def _new_share(picture: np.ndarray, drawn: np.ndarray, free: np.ndarray) -> float:
    """Strong edges where none was drawn, as a part of all pixels where there is no product."""
    strong = canny(picture, *_STRONG) > 0
    return float((strong & free & ~grown(drawn, _NEAR_PX)).sum() / max(free.sum(), 1))
