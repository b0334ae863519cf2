"""From a number to a training sample: a picture in SAM's square, with prompts and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from packshot.contract import LABEL_BACKGROUND, LABEL_FOREGROUND
from packshot_pocket.renderer import Split, render_snapshot, render_studio
from packshot_pocket.sam.augment import View, random_view, worn
from packshot_pocket.sam.clicks import click, near_miss, rough_box
from packshot_pocket.sam.grouping import UNKNOWN
from packshot_pocket.sam.model import SamSpec
from packshot_pocket.sam.picture import Picture, Region
from packshot_pocket.sam.shapes import shapes

_Rng = np.random.Generator

#: Truths of a click: what is meant first, then what else could have been.
NUM_CANDIDATES = 3
#: Clicks of the prompt of several.
NUM_POINTS = 3
#: Between the numbers of a sample's pictures, if the first has nothing to select.
_APART = 2**48
#: About so many pictures are all shown once, then all again, before the next ones are drawn.
_ROUND = 1024
#: Things are learnt that cover this much of the square.
_MIN_COVER, _MAX_COVER = 0.003, 0.8
#: Share of the photos that have been through another camera or program.
_WORN = 0.5
#: How often a click means only the part that it hits; how often other prompts do.
_PART_CLICKED, _PART_SHOWN = 0.15, 0.25
#: How often somebody clicks beside everything. What is meant is then all that is no thing: never the product.
_NOTHING_CLICKED = 0.06


class SamSamples(Dataset[dict[str, Tensor]]):
    """Training samples by number; the same number gives the same sample, in any process.

    Args:
        spec: sizes of the network.
        first: number of the first sample.
        count: how many.
        views: samples that show the same picture, each in its own way, a thousand samples apart, so that
            no batch shows one twice. At 128 pixels drawing one takes a core 24 ms, a further view 2.
            A process keeps the pictures of a round that it has drawn: of 384 pixels some 1.3 GB.
        together: divides the number of a round's pictures. Processes that take turns with batches draw
            each picture once if that is a multiple of a batch for each of them.

    A sample is a dict of

    - ``image`` uint8 [S, S, 3], ``reshaped_input_size`` int64 [2];
    - ``first_point`` float32 [1, 2], ``first_truths`` uint8 [3, m, m] and ``first_known`` bool [3]: a
      click, and what it may mean; what is meant comes first;
    - ``other_point``, ``other_truths`` and ``other_known``: the same of a click on something else, if the
      photo shows more than one thing;
    - ``points`` float32 [3, 2], ``points_labels`` int64 [3], ``points_truth`` uint8 [m, m];
    - ``box`` float32 [2, 2], ``box_truth`` uint8 [m, m];
    - ``owner`` uint8 [m, m], the number of the thing that a pixel shows, 0 for none, 255 outside the photo.

    Truths say how much of each pixel of the low-resolution mask is covered, 0 to 255.
    """

    def __init__(self, spec: SamSpec, first: int, count: int, views: int = 1, together: int = 1) -> None:
        self.spec, self.first, self.count, self.views = spec, first, count, views
        self._pictures = together * math.ceil(_ROUND / together)
        self._round, self._drawn = -1, dict[int, Picture]()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        cv2.setNumThreads(0)
        number = self.first + index
        for attempt in range(100):
            rng = np.random.default_rng([number, attempt, 31_415])
            picture = self._picture(number, attempt)
            view = random_view(rng, picture.image.shape[0], self.spec.image_size)
            regions = [seen for region in picture.regions if (seen := _seen(region, view))]
            if regions:
                image = view.image(picture.image)
                image = worn(rng, image) if rng.random() < _WORN else image
                return _sample(rng, self.spec, view, image, regions)
        raise RuntimeError(f"sample {number}: 100 pictures without anything to select")

    def _picture(self, number: int, attempt: int) -> Picture:
        this_round, place = divmod(number, self._pictures * self.views)
        if this_round != self._round:
            self._round, self._drawn = this_round, {}
        shown = this_round * self._pictures + place % self._pictures + attempt * _APART
        if shown not in self._drawn:
            self._drawn[shown] = draw_picture(np.random.default_rng([shown, 16_180]), self.spec.image_size)
        return self._drawn[shown]


def draw_picture(rng: _Rng, size: int, split: Split = "train") -> Picture:
    """A picture of one of the kinds that SAM learns from."""
    kind = _PICTURES[rng.choice(len(_PICTURES), p=_SHARES)]
    return kind(int(rng.integers(2**31)), size, split)


def snapshot_picture(seed: int, size: int, split: Split) -> Picture:
    """An amateur's photo; everything on it can be selected."""
    snapshot = render_snapshot(seed, size, split)
    return Picture(snapshot.image, tuple(Region(one.mask, one.parts) for one in snapshot.objects))


def studio_picture(seed: int, size: int, split: Split) -> Picture:
    """A catalogue scene."""
    scene = render_studio(seed, size, split)
    return Picture(scene.image, (Region(scene.mask),))


def composite_picture(seed: int, size: int, split: Split) -> Picture:
    """A rendered product among shapes, where no renderer would have put it."""
    rng = np.random.default_rng([seed, 27_182])
    around, scene = shapes(seed, size), render_studio(seed, size, split)
    zoom = rng.uniform(0.6, 1.6)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), rng.normal(0, 15), zoom)
    matrix[:, 2] += rng.normal(0, 0.15 * size, 2)
    premultiplied = np.dstack([scene.foreground * (scene.alpha[..., None] / 255.0), scene.alpha / 255.0])
    layer = cv2.warpAffine(premultiplied.astype(np.float32), matrix, (size, size))
    alpha = layer[..., 3:]
    image = np.clip(layer[..., :3] + around.image * (1 - alpha), 0, 255).astype(np.uint8)
    product = alpha[..., 0] >= 0.5
    behind = tuple(
        Region(region.mask & ~product, tuple(part & ~product for part in region.parts))
        for region in around.regions
    )
    return Picture(image, (Region(product), *behind))


def shapes_picture(seed: int, size: int, split: Split) -> Picture:
    """Things that nobody ever sold; nothing of them is held out."""
    del split
    return shapes(seed, size)


_PICTURES: tuple[Callable[[int, int, Split], Picture], ...] = (
    snapshot_picture, studio_picture, composite_picture, shapes_picture,
)  # fmt: skip
_SHARES = (0.6, 0.14, 0.1, 0.16)


def _seen(region: Region, view: View) -> Region | None:
    """A region as the view shows it, masks uint8; None if there is too little or too much of it."""
    mask = view.mask(region.mask)
    if not _MIN_COVER <= (mask >= 128).mean() <= _MAX_COVER:
        return None
    parts = tuple(view.mask(part) for part in region.parts)
    return Region(mask, tuple(part for part in parts if (part >= 128).mean() >= _MIN_COVER))


def _sample(
    rng: _Rng, spec: SamSpec, view: View, image: np.ndarray, regions: list[Region]
) -> dict[str, Tensor]:
    low = (spec.mask_size, spec.mask_size)

    def small(mask: np.ndarray) -> np.ndarray:
        return cv2.resize(mask, low, interpolation=cv2.INTER_AREA)

    def clicked(name: str, region: Region) -> dict[str, np.ndarray]:
        point, candidates = _one_click(rng, region)
        truths = np.zeros((NUM_CANDIDATES, *low), np.uint8)
        truths[: len(candidates)] = [small(candidate) for candidate in candidates]
        return {
            f"{name}_point": np.array([point], np.float32),
            f"{name}_truths": truths,
            f"{name}_known": np.arange(NUM_CANDIDATES) < len(candidates),
        }

    first = _pick(rng, regions)
    others = [region for region in regions if region is not first] or regions
    nothing = rng.random() < _NOTHING_CLICKED and _background(regions, view)
    # On small things as often as on large ones: the first click and the box favour large ones.
    several = _meant(rng, regions[rng.integers(len(regions))])
    points, labels = _clicks(rng, several[: view.height, : view.width] >= 128)
    boxed = _meant(rng, _pick(rng, regions))
    box = rough_box(rng, boxed[: view.height, : view.width] >= 128)
    arrays = {
        "image": image,
        "reshaped_input_size": np.array([view.height, view.width], np.int64),
        **clicked("first", nothing or first),
        **clicked("other", others[rng.integers(len(others))]),
        "points": np.array(points, np.float32),
        "points_labels": np.array(labels, np.int64),
        "points_truth": small(several),
        "box": np.array(box, np.float32).reshape(2, 2),
        "box_truth": small(boxed),
        "owner": _owner(regions, view, small),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _owner(regions: list[Region], view: View, small: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Whose each pixel is. Of things that overlap the smaller one: it lies on the other or belongs to it."""
    side = small(regions[0].mask).shape[0]
    owner = np.full((side, side), UNKNOWN, np.uint8)
    owner[: view.height * side // view.side, : view.width * side // view.side] = 0
    masks = sorted((small(region.mask) for region in regions), key=np.sum, reverse=True)
    for number, mask in enumerate(masks, start=1):
        owner[mask >= 128] = number
    return owner


def _pick(rng: _Rng, regions: list[Region]) -> Region:
    """Large things more often than small ones."""
    cover = np.array([np.sqrt((region.mask >= 128).mean()) for region in regions])
    return regions[rng.choice(len(regions), p=cover / cover.sum())]


def _background(regions: list[Region], view: View) -> Region | None:
    """Everything but the regions; None where there is hardly anything."""
    mask = np.zeros((view.side, view.side), np.uint8)
    mask[: view.height, : view.width] = 255
    for region in regions:
        mask -= np.minimum(mask, region.mask)
    return Region(mask) if (mask >= 128).mean() > 0.05 else None


def _meant(rng: _Rng, region: Region) -> np.ndarray:
    """The whole, or one of its parts."""
    if region.parts and rng.random() < _PART_SHOWN:
        return region.parts[rng.integers(len(region.parts))]
    return region.mask


def _one_click(rng: _Rng, region: Region) -> tuple[tuple[float, float], list[np.ndarray]]:
    """A click, and what it may mean: what is meant, then the rest of the whole and the parts it hits."""
    x, y = click(rng, region.mask >= 128)
    hit = [part for part in region.parts if part[int(y), int(x)] >= 128]
    hit = hit[: NUM_CANDIDATES - 1]
    if hit and rng.random() < _PART_CLICKED:
        return (x, y), [hit[0], region.mask, *hit[1:]]
    return (x, y), [region.mask, *hit]


def _clicks(rng: _Rng, mask: np.ndarray) -> tuple[list[tuple[float, float]], list[int]]:
    """Several clicks, the first on the thing, the others on it or beside it."""
    points, labels = [click(rng, mask)], [LABEL_FOREGROUND]
    while len(points) < NUM_POINTS:
        beside = near_miss(rng, mask) if rng.random() < 0.5 else None
        points.append(beside or click(rng, mask))
        labels.append(LABEL_BACKGROUND if beside else LABEL_FOREGROUND)
    return points, labels
