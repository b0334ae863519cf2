"""SAM: points, boxes, parts, clutter and a real photo, asked as the client asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from packshot_pocket.evaluation.coffee import COFFEE_BOX, coffee_mask, coffee_photo
from packshot_pocket.evaluation.report import Measure, Section
from packshot_pocket.evaluation.segmenter import Answer, EmbeddedPhoto, Segmenter
from packshot_pocket.evaluation.sheets import outlined, write_sheets
from packshot_pocket.renderer import SnapshotObject, render_snapshot, render_studio
from packshot_pocket.sam.clicks import click, rough_box

#: A person's box is off by this part of its size.
_BOX_SLACK = 0.02
#: What is smaller than this part of a picture is not asked for.
_MIN_COVER = 0.006
#: What shows less of itself than this part is mostly hidden.
_SHOWN = 0.5
#: A mask that covers less than this part of the product leaves it out.
_LEFT_OUT = 0.1
#: A click means "nothing" if it is this far from everything, in pixels.
_CLEAR_PX = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt of the evaluation.

    Attributes:
        kind: ``point``, ``box``, ``clutter``, ``part`` or ``nothing``.
        seed: of the picture.
        studio: whether it is a catalogue scene and not a snapshot.
        ious: with what was meant, float64 [3]; for ``nothing`` how much of the product each mask covers.
        iou_predictions: float32 [3].
        cover: part of the picture that what was meant covers; for ``nothing`` 0.
        visible: of ``clutter`` how much of the thing nothing hides, 0 to 1; None for other kinds.
        product: of ``clutter`` how much of the product each mask covers, float64 [3]; None for other kinds.
        whole: of a ``part`` the IoUs with the thing that it belongs to, float64 [3]; None for other kinds.
    """

    kind: str
    seed: int
    studio: bool
    ious: np.ndarray
    iou_predictions: np.ndarray
    cover: float
    visible: float | None = None
    product: np.ndarray | None = None
    whole: np.ndarray | None = None

    @property
    def sensible(self) -> np.ndarray:
        """IoUs with what may have been meant: of a click on a part, the part or the whole. float64 [3]."""
        return self.ious if self.whole is None else np.maximum(self.ious, self.whole)


def evaluate_sam(checkpoint: Path, output: Path, count: int) -> Section:
    """Ask for ``count`` products on snapshots and half as many on studio scenes; write sheets."""
    segmenter = Segmenter(checkpoint)
    asked: list[Asked] = []
    rows: list[list[np.ndarray]] = []
    for seed in range(count):
        snapshot = render_snapshot(seed, split="held_out")
        photo = segmenter.photo(snapshot.image)
        rng = np.random.default_rng([seed, 1])
        product, *others = snapshot.objects
        asked += _ask_product(photo, rng, seed, product.mask, False)
        asked += _ask_others(photo, rng, seed, product, others)
        if seed < 24:
            rows.append(_sheet_row(photo, np.random.default_rng([seed, 1]), snapshot.image, product.mask))
        if seed % 2 == 0:
            scene = render_studio(seed, split="held_out")
            asked += _ask_product(segmenter.photo(scene.image), rng, seed, scene.mask, True)
    titles = ("photo, truth", "one point", "second mask", "third mask", "box")
    write_sheets(output, "sam", rows, titles)
    coffee = _ask_coffee(segmenter, output)
    return Section(
        "sam",
        (0, count - 1),
        [*sam_measures(asked), *coffee],
        {"box_slack": _BOX_SLACK, "shown": _SHOWN},
        _details(asked),
    )


def _ask_product(
    photo: EmbeddedPhoto, rng: np.random.Generator, seed: int, mask: np.ndarray, studio: bool
) -> Iterator[Asked]:
    answer = photo.ask([click(rng, mask)])
    yield Asked("point", seed, studio, answer.ious(mask), answer.iou_predictions, mask.mean())
    answer = photo.ask(box=rough_box(rng, mask, _BOX_SLACK, exact=0))
    yield Asked("box", seed, studio, answer.ious(mask), answer.iou_predictions, mask.mean())


def _ask_others(
    photo: EmbeddedPhoto,
    rng: np.random.Generator,
    seed: int,
    product: SnapshotObject,
    others: Sequence[SnapshotObject],
) -> Iterator[Asked]:
    for other in others:
        if (cover := other.mask.mean()) >= _MIN_COVER:
            answer = photo.ask([click(rng, other.mask)])
            ious, covered = answer.ious(other.mask), _covered(answer, product.mask)
            yield Asked("clutter", seed, False, ious, answer.iou_predictions, cover, other.visible, covered)
    for part in product.parts:
        if (cover := part.mean()) >= _MIN_COVER and part.sum() < 0.9 * product.mask.sum():
            answer = photo.ask([click(rng, part)])
            whole = answer.ious(product.mask)
            yield Asked("part", seed, False, answer.ious(part), answer.iou_predictions, cover, whole=whole)
    taken = np.logical_or.reduce([product.mask, *(other.mask for other in others)])
    kernel = np.ones((2 * _CLEAR_PX + 1, 2 * _CLEAR_PX + 1), np.uint8)
    clear = cv2.dilate(taken.astype(np.uint8), kernel) == 0
    if clear.any():
        answer = photo.ask([click(rng, clear)])
        yield Asked("nothing", seed, False, _covered(answer, product.mask), answer.iou_predictions, 0.0)


def _covered(answer: Answer, product: np.ndarray) -> np.ndarray:
    """How much of the product each mask covers, float64 [3]."""
    return (answer.masks & product).sum(axis=(1, 2)) / product.sum()


def sam_measures(asked: Sequence[Asked]) -> Iterator[Measure]:
    """What all answers together say of a SAM; means of a kind that was not asked are NaN."""

    def first(kind: str, studio: bool | None = None) -> np.ndarray:
        chosen = (one for one in asked if one.kind == kind and studio in (None, one.studio))
        return np.array([one.ious[0] for one in chosen])

    for kind, target in (("point", 0.90), ("box", 0.93)):
        every = first(kind)
        yield Measure(f"mean IoU, {kind}", _mean(every), len(every), at_least=target)
        for studio, where in ((False, "snapshots"), (True, "studio scenes")):
            some = first(kind, studio)
            yield Measure(f"mean IoU, {kind}, {where}", _mean(some), len(some))
        yield Measure(f"share of IoU below 0.7, {kind}", _mean(every < 0.7), len(every))
    meant = [one for one in asked if one.kind != "nothing"]
    true = np.concatenate([one.sensible for one in meant])
    predicted = np.concatenate([one.iou_predictions for one in meant])
    correlation = _correlation(true, predicted)
    yield Measure("correlation of predicted with true IoU, all masks", correlation, len(true), at_least=0.7)
    strict = _correlation(np.concatenate([one.ious for one in meant]), predicted)
    yield Measure("the same, if a click on a part always means the part", strict, len(true))
    error = float(np.abs(true - predicted).mean())
    yield Measure("mean error of predicted IoU, all masks", error, len(true))
    yield from _clutter_measures([one for one in asked if one.kind == "clutter"])
    parts = [one for one in asked if one.kind == "part"]
    yield Measure(
        "point on a part: mean IoU of the answer with the part or the whole",
        _mean(np.array([one.sensible[0] for one in parts])), len(parts), at_least=0.85,
    )  # fmt: skip
    best = np.array([one.ious.max() for one in parts])
    yield Measure("point on a part: mean IoU of the best of three with the part", _mean(best), len(parts))
    nothing = first("nothing")
    share = _mean(nothing < _LEFT_OUT)
    yield Measure(
        "point on the background: share that leaves the product out", share, len(nothing), at_least=0.9
    )


def _clutter_measures(clutter: Sequence[Asked]) -> Iterator[Measure]:
    """Of points on other things than the product: those that show, and those that are mostly hidden."""
    ious = np.array([one.ious[0] for one in clutter])
    shows = np.array([one.visible is not None and one.visible >= _SHOWN for one in clutter], bool)
    for some, which, target in ((shows, "that shows", 0.8), (~shows, "mostly hidden", None)):
        name, count = f"point on another thing {which}", int(some.sum())
        yield Measure(f"mean IoU, {name}", _mean(ious[some]), count, at_least=target)
        yield Measure(f"share of IoU below 0.7, {name}", _mean(ious[some] < 0.7), count)
    yield Measure("mean IoU, point on any other thing", _mean(ious), len(ious))
    spared = np.array([one.product is not None and one.product[0] < _LEFT_OUT for one in clutter])
    name = "point on any other thing: share that leaves the product out"
    yield Measure(name, _mean(spared), len(spared), at_least=0.9)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def _mean(values: np.ndarray) -> float:
    """NaN of nothing, without a warning."""
    return float(values.mean()) if values.size else float("nan")


def _details(asked: Sequence[Asked]) -> list[dict[str, object]]:
    return [
        {
            "kind": one.kind,
            "seed": one.seed,
            "studio": one.studio,
            "ious": _rounded(one.ious),
            "iou_predictions": _rounded(one.iou_predictions),
            "cover": round(float(one.cover), 4),
            **({} if one.visible is None else {"visible": round(one.visible, 3)}),
            **({} if one.product is None else {"product": _rounded(one.product)}),
            **({} if one.whole is None else {"whole": _rounded(one.whole)}),
        }
        for one in asked
    ]


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def _sheet_row(
    photo: EmbeddedPhoto, rng: np.random.Generator, image: np.ndarray, mask: np.ndarray
) -> list[np.ndarray]:
    """The same prompts as :func:`_ask_product` asks."""
    point = click(rng, mask)
    answer = photo.ask([point])
    row = [outlined(image, mask, (255, 255, 0))]
    for one in answer.masks:
        marked = outlined(image, one)
        row.append(cv2.circle(marked, (int(point[0]), int(point[1])), 3, (255, 0, 0), -1))
    box = rough_box(rng, mask, _BOX_SLACK, exact=0)
    x0, y0, x1, y1 = (int(value) for value in box)
    marked = outlined(image, photo.ask(box=box).masks[0])
    row.append(cv2.rectangle(marked, (x0, y0), (x1, y1), (255, 0, 0), 1))
    return row


def _ask_coffee(segmenter: Segmenter, output: Path) -> Iterator[Measure]:
    """The one photo that no renderer drew."""
    image, truth = coffee_photo(), coffee_mask()
    photo = segmenter.photo(image)
    boxed = photo.ask(box=COFFEE_BOX)
    clicked = photo.ask([(280.0, 300.0)])
    x0, y0, x1, y1 = (int(value) for value in COFFEE_BOX)
    marked = cv2.rectangle(outlined(image, boxed.masks[0]), (x0, y0), (x1, y1), (255, 0, 0), 1)
    pointed = cv2.circle(outlined(image, clicked.masks[0]), (280, 300), 4, (255, 0, 0), -1)
    reference = outlined(image, truth, (255, 255, 0))
    write_sheets(output, "coffee", [[reference, marked, pointed]], ("by hand", "box", "one point"))
    iou = float(boxed.ious(truth)[0])
    yield Measure("IoU, coffee(), box", iou, 1, at_least=0.85)
    # What a box alone is worth: the ellipse that fills it.
    filled = np.zeros(truth.shape, np.uint8)
    middle, axes = ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0)
    cv2.ellipse(filled, (middle, axes, 0), 1, -1)
    ellipse = Answer(np.stack([filled > 0] * 3), np.zeros(3, np.float32))
    yield Measure("IoU, coffee(), an ellipse that fills the box", float(ellipse.ious(truth)[0]), 1)
    best = float(clicked.ious(truth).max())
    yield Measure("IoU, coffee(), one point below the cup, best of three", best, 1)
