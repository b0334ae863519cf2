"""The renderer: the same numbers give the same picture, and what it says of a picture is so."""

from __future__ import annotations

import numpy as np
import pytest

from packshot_pocket.renderer import BACKDROPS, MATERIALS, PRODUCTS, render_snapshot, render_studio
from packshot_pocket.renderer.dice import Dice
from packshot_pocket.renderer.materials import HEIGHT, WIDTH
from packshot_pocket.renderer.materials import MATERIALS as MAKERS
from packshot_pocket.renderer.palette import SYNONYMS

SIZE = 96


@pytest.fixture(scope="module")
def scenes():
    return [render_studio(seed, SIZE) for seed in range(40)]


@pytest.fixture(scope="module")
def snapshots():
    return [render_snapshot(seed, SIZE) for seed in range(30)]


def test_the_issue_s_kinds_exist():
    assert len(PRODUCTS) >= 10
    assert len(BACKDROPS) >= 8
    assert len(MATERIALS) >= 6


@pytest.mark.parametrize("render", [render_studio, render_snapshot])
@pytest.mark.parametrize("size", [64, 96])
def test_the_same_seed_gives_the_same_picture_and_another_seed_another(render, size):
    first, again, other = render(7, size), render(7, size), render(8, size)
    assert first.image.shape == (size, size, 3)
    assert first.image.dtype == np.uint8
    assert (first.image == again.image).all()
    assert (first.mask == again.mask).all()
    assert (first.image != other.image).any()


def test_a_label_of_which_nothing_is_in_the_picture_is_left_out():
    # A training drew it: the label's band touches what is drawn with its margin of two pixels only.
    assert render_snapshot(154820745, 128).mask.any()


@pytest.mark.parametrize("render", [render_studio, render_snapshot])
def test_the_same_seed_means_another_picture_in_the_other_split(render):
    assert (render(3, SIZE).image != render(3, SIZE, "held_out").image).mean() > 0.5


def test_shape_parameters_of_the_splits_never_meet_but_span_the_same_range():
    drawn = {}
    for split in ("train", "held_out"):
        dice = Dice(1, split, 0)
        drawn[split] = np.array([dice.shape(2, 4) for _ in range(4000)])
    cell = {split: (values - 2) / 0.4 % 1 for split, values in drawn.items()}
    held_out = np.abs(cell["held_out"] - 0.5) < 0.1
    assert held_out.all()
    assert not (np.abs(cell["train"] - 0.5) < 0.1 - 1e-9).any()
    for values in drawn.values():
        assert values.min() < 2.3
        assert values.max() > 3.7


def test_textures_of_the_splits_are_seeded_from_disjoint_halves(monkeypatch):
    seeds = {"train": [], "held_out": []}
    for split, found in seeds.items():
        dice = Dice(0, split, 0)
        monkeypatch.setattr(np.random, "PCG64", lambda seed, found=found: found.append(seed))
        monkeypatch.setattr(np.random, "Generator", lambda _: None)
        for _ in range(200):
            dice.texture()
        monkeypatch.undo()
    assert max(seeds["train"]) < 2**31 <= min(seeds["held_out"])
    assert max(seeds["held_out"]) < 2**32


@pytest.mark.parametrize("name", MATERIALS)
def test_a_material_is_made_anew_from_every_seed(name):
    one, other = (MAKERS[name](Dice(seed, "train", 0)) for seed in (1, 2))
    assert one.name == name
    assert one.texture.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(one.texture - other.texture).mean() > 0.5


def test_a_held_out_caption_names_the_backdrop_and_the_table():
    for scene in (render_studio(seed, 48, "held_out") for seed in range(60)):
        caption = scene.caption.lower()
        assert any(word in caption for word in SYNONYMS[scene.truth.backdrop])
        said = {
            "plain": ("plain", "matte"),
            "tiles": ("til",),
            "fabric": ("fabric", "linen"),
            "wood": ("wood",),
        }
        if not scene.truth.seamless:
            assert any(word in caption for word in said.get(scene.truth.material, (scene.truth.material,)))
        side = scene.truth.light
        for word in {"left", "right"} - {side}:
            assert word not in caption.replace("bright", "")


def test_some_training_captions_leave_the_backdrop_out(scenes):
    named = [any(w in s.caption.lower() for w in SYNONYMS[s.truth.backdrop]) for s in scenes]
    assert 0.75 < np.mean(named) < 1


def test_captions_vary(scenes):
    assert len({scene.caption.split()[0].lower() for scene in scenes}) > 4


def test_the_mask_is_the_product(scenes):
    for scene in scenes:
        assert 0.01 < scene.mask.mean() < 0.6
        assert (scene.mask == (scene.alpha >= 128)).all()
        whole = scene.alpha == 255
        # The noise of the camera apart, inside the mask the picture is the foreground.
        difference = np.abs(scene.image[whole].astype(int) - scene.foreground[whole])
        assert np.median(difference) <= 3
        assert (scene.foreground[scene.alpha == 0] == 0).all()


def test_edges_are_smooth(scenes):
    soft = [((scene.alpha > 0) & (scene.alpha < 255)).sum() for scene in scenes]
    assert np.median(soft) > 20


def test_the_backdrop_has_the_colour_that_it_is_said_to_have(scenes):
    for scene in scenes:
        truth = scene.truth
        seen = scene.image[truth.backdrop_region].mean(axis=0)
        assert np.abs(seen - truth.backdrop_rgb).max() < 0.01
        names = {name: np.linalg.norm(seen - np.array(rgb)) for name, rgb in BACKDROPS.items()}
        if not truth.gradient:
            assert min(names, key=names.__getitem__) == truth.backdrop


def test_the_regions_leave_the_product_and_each_other_out(scenes):
    for scene in scenes:
        truth = scene.truth
        regions = (truth.backdrop_region, truth.table_region, scene.alpha > 0)
        assert np.sum(regions, axis=0).max() == 1
        assert not (truth.shadow_region & (scene.alpha >= 8)).any()
        assert not (truth.shadow_region & truth.beside_region).any()
        left, right = truth.horizon_rows
        assert truth.backdrop_region[: int(min(left, right)) - 12].mean() > 0.1 or truth.seamless


def test_it_is_darker_under_the_product_than_beside_it():
    ratios = [render_studio(seed, SIZE).truth.shadow_ratio for seed in range(100, 140)]
    assert 0.5 < np.median(ratios) < 0.85


def test_the_light_comes_from_where_it_is_said_to(scenes):
    for scene in scenes:
        x, y, z = scene.truth.light_direction
        assert x * x + y * y + z * z == pytest.approx(1, abs=1e-5)
        assert {"left": x < -0.2, "right": x > 0.2, "above": abs(x) < 0.3}[scene.truth.light]


def test_a_snapshot_s_objects_do_not_overlap_and_the_product_comes_first(snapshots):
    for snapshot in snapshots:
        assert snapshot.objects[0].kind in PRODUCTS
        assert snapshot.mask.mean() > 0.004
        assert np.sum([thing.mask for thing in snapshot.objects], axis=0).max() == 1
        for thing in snapshot.objects:
            for part in thing.parts:
                assert not (part & ~thing.mask).any()


def test_what_nothing_hides_is_wholly_visible_and_what_stands_behind_is_not(snapshots):
    shown = [thing.visible for snapshot in snapshots for thing in snapshot.objects]
    assert all(0 < each <= 1 for each in shown)
    assert 1.0 in shown
    assert min(shown) < 0.8


def test_snapshots_have_several_objects_and_some_have_hands(snapshots):
    assert np.mean([len(snapshot.objects) for snapshot in snapshots]) > 1.5
    assert any(thing.kind == "hand" for snapshot in snapshots for thing in snapshot.objects)
