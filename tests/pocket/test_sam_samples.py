"""What the pocket SAM learns from: samples by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from packshot_pocket.sam.augment import View
from packshot_pocket.sam.grouping import UNKNOWN
from packshot_pocket.sam.model import SamSpec
from packshot_pocket.sam.picture import Picture, Region
from packshot_pocket.sam.samples import SamSamples, _owner
from packshot_pocket.sam.shapes import shapes
from tests.pocket.tiny_sam import TINY


def test_samples_are_the_same_whenever_they_are_drawn(monkeypatch):
    monkeypatch.setattr("packshot_pocket.sam.samples._ROUND", 4)
    samples = SamSamples(SamSpec(), 5, 4, views=2)
    samples[0]
    first, again = samples[3], SamSamples(SamSpec(), 8, 1, views=2)[0]
    assert all(torch.equal(first[name], again[name]) for name in first)
    for which in ("first", "other"):
        point, truth = first[f"{which}_point"][0], first[f"{which}_truths"][0]
        x, y = (int(value) // 2 for value in point)
        assert truth[y, x] > 0
        assert first[f"{which}_known"][0]


def test_the_other_click_is_on_another_thing(monkeypatch):
    def two_things(rng, size):
        masks = np.zeros((2, size, size), bool)
        masks[0, : size // 2], masks[1, size // 2 :] = True, True
        return Picture(np.zeros((size, size, 3), np.uint8), tuple(Region(mask) for mask in masks))

    monkeypatch.setattr("packshot_pocket.sam.samples._NOTHING_CLICKED", 0.0)
    monkeypatch.setattr("packshot_pocket.sam.samples.draw_picture", two_things)
    for sample in (SamSamples(TINY, number, 1)[0] for number in range(8)):
        first, other = (sample[f"{which}_truths"][0] > 128 for which in ("first", "other"))
        assert first.any()
        assert other.any()
        assert not (first & other).any()


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """Seeds of what samples have drawn: shapes, in rounds of about three."""
    seeds = []

    def draw(rng, size):
        seeds.append(int(rng.integers(2**31)))
        return shapes(seeds[-1], size)

    monkeypatch.setattr("packshot_pocket.sam.samples._ROUND", 3)
    monkeypatch.setattr("packshot_pocket.sam.samples.draw_picture", draw)
    monkeypatch.setattr("packshot_pocket.sam.samples._MIN_COVER", 1 / TINY.image_size**2)  # a pixel
    return seeds


def test_a_picture_comes_again_after_all_others_of_its_round(drawn):
    samples = SamSamples(TINY, 0, 12, views=2)
    images = [samples[number]["image"] for number in range(6)]
    assert len(drawn) == len(set(drawn)) == 3, "the second time they are not drawn"
    assert not any(torch.equal(images[number], images[number + 3]) for number in range(3))
    samples[6]
    assert len(set(drawn)) == 4, "then come others"


def test_processes_that_take_turns_with_batches_draw_each_picture_once(drawn):
    processes = [SamSamples(TINY, 0, 24, views=2, together=3 * 2) for _ in range(3)]
    for number in range(24):
        processes[number // 2 % 3][number]
    assert len(drawn) == len(set(drawn)) == 12


def test_a_click_beside_everything_means_what_is_no_thing(monkeypatch):
    monkeypatch.setattr("packshot_pocket.sam.samples._SHARES", (0, 0, 0, 1))
    monkeypatch.setattr("packshot_pocket.sam.samples._NOTHING_CLICKED", 1.0)
    for sample in (SamSamples(SamSpec(), number, 1)[0] for number in range(6)):
        meant = sample["first_truths"][0] > 250
        boxed = sample["box_truth"] > 250
        assert meant.any()
        assert not (meant & boxed).any()


def test_of_things_that_overlap_a_pixel_is_the_smaller_one_s():
    view = View(np.eye(2, 3), side=16, height=12, width=16)
    plate, cup = np.zeros((2, 16, 16), np.uint8)
    plate[2:10, 2:14], cup[4:8, 4:8] = 255, 255
    owner = _owner([Region(cup), Region(plate)], view, lambda mask: mask)
    assert owner[5, 5] != owner[3, 3] != 0 == owner[0, 0]
    assert (owner[12:] == UNKNOWN).all()
    assert UNKNOWN not in owner[:12]
