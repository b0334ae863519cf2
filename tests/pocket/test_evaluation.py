"""The evaluation's measures: what is true passes, and what is wrong is seen."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from packshot.edges import canny
from packshot_pocket.evaluation.coffee import COFFEE_BOX, coffee_mask, coffee_photo
from packshot_pocket.evaluation.materials import MaterialNet
from packshot_pocket.evaluation.painting import composed
from packshot_pocket.evaluation.pictures import (
    backdrop_name,
    edge_f1,
    find_horizon,
    grown,
    laplacian_energy,
    psnr,
    regions,
    rim_gradient,
    shadow_ratio,
)
from packshot_pocket.evaluation.report import Measure, ReportFile, Section, table
from packshot_pocket.evaluation.scenes import Findings, examine, scene_measures
from packshot_pocket.evaluation.segmentation import Asked, sam_measures
from packshot_pocket.evaluation.segmenter import Answer
from packshot_pocket.evaluation.sheets import write_sheets
from packshot_pocket.renderer import BACKDROPS, Scene, render_studio

#: Enough to be sure, few enough to be quick.
SEEDS = range(20)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_studio(seed, split="held_out") for seed in SEEDS]


@pytest.fixture(scope="module")
def lined(scenes) -> list[Scene]:
    """Those with a line between backdrop and table."""
    return [scene for scene in scenes if not scene.truth.seamless]


def wavy(scene: Scene, pixels: float) -> np.ndarray:
    """The scene with a horizon that wobbles."""
    height, width = scene.mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = y + np.float32(pixels) * np.sin(x / 9)
    image = cv2.remap(
        scene.image, x, moved.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    image[grown(scene.mask, 3)] = scene.image[grown(scene.mask, 3)]
    return image


def test_true_horizons_are_found_and_straight(lined):
    found = [find_horizon(scene.image, scene.mask) for scene in lined]
    off = [
        abs(horizon.rows[0] - scene.truth.horizon_rows[0])
        + abs(horizon.rows[-1] - scene.truth.horizon_rows[1])
        for horizon, scene in zip(found, lined, strict=True)
        if horizon.contrast >= 8
    ]
    assert np.median(off) / 2 < 2
    assert np.mean([horizon.deviation for horizon in found]) < 0.008


def test_wobbly_horizons_fail(lined):
    clear = [scene for scene in lined if find_horizon(scene.image, scene.mask).contrast > 20]
    deviations = [find_horizon(wavy(scene, 12), scene.mask).deviation for scene in clear]
    assert np.mean(deviations) > 0.02


def test_true_backdrops_have_their_name_and_their_colour(scenes):
    names, distances = [], []
    for scene in scenes:
        horizon = find_horizon(scene.image, scene.mask)
        backdrop = regions(horizon, scene.mask).backdrop
        if scene.truth.seamless or horizon.contrast < 8:
            backdrop = scene.truth.backdrop_region
        mean = scene.image[backdrop].mean(axis=0)
        names.append(backdrop_name(mean) == scene.truth.backdrop)
        distances.append(np.linalg.norm(mean - scene.truth.backdrop_rgb))
    assert np.mean(names) >= 0.95
    assert np.mean(distances) < 5


def test_nominal_colours_have_their_own_names():
    for name, rgb in BACKDROPS.items():
        assert backdrop_name(np.array(rgb, float)) == name


def test_shadows_are_measured_as_the_renderer_does(scenes):
    for scene in scenes:
        measured = shadow_ratio(scene.image, scene)
        if np.isfinite(measured):
            assert measured == pytest.approx(scene.truth.shadow_ratio, rel=1e-3)
    bright = [shadow_ratio(np.full_like(scene.image, 200), scene) for scene in scenes]
    assert np.nanmean(bright) == pytest.approx(1.0)


def test_a_halo_is_seen(scenes):
    true = np.mean([rim_gradient(scene.image, scene.mask) for scene in scenes])
    halos = []
    for scene in scenes:
        picture = scene.image.copy()
        picture[grown(scene.mask, 4) & ~scene.mask] = 127
        halos.append(rim_gradient(picture, scene.mask))
    assert np.mean(halos) > 1.5 * true


def test_psnr_and_fine_texture():
    rng = np.random.default_rng(0)
    truth = rng.integers(90, 160, (64, 64, 3)).astype(np.uint8)
    everywhere = np.ones((64, 64), bool)
    assert psnr(truth, truth + np.uint8(10)) == pytest.approx(20 * np.log10(25.5))
    assert psnr(truth, truth + np.uint8(10), everywhere) == pytest.approx(20 * np.log10(25.5))
    soft = cv2.GaussianBlur(truth, (0, 0), 1.5)
    assert laplacian_energy(soft, everywhere) < 0.1 * laplacian_energy(truth, everywhere)


def test_the_truth_meets_its_own_targets(scenes, monkeypatch):
    # Materials are read by a classifier that takes minutes to train; its own share is in every report.
    materials = {scene.image.tobytes(): scene.truth.material for scene in scenes}
    monkeypatch.setattr(
        "packshot_pocket.evaluation.scenes.read_material",
        lambda _, picture, table: materials[picture.tobytes()],
    )
    true = [examine(scene.image, scene, MaterialNet()) for scene in scenes]
    assert [measure.name for measure in scene_measures(scenes, true, true) if measure.passed is False] == []
    flat = [replace(one, shadow=1.0, rim=2 * one.rim, deviation=0.05, distance=20.0) for one in true]
    failed = [measure for measure in scene_measures(scenes, flat, true) if measure.passed is False]
    assert len(failed) == 4


def test_a_reflection_in_the_truth_is_no_shadow_to_be_judged_by(scenes):
    pair = scenes[:2]
    dark, light = (Findings("grey", 0.0, "plain", 0.0, shadow, 1.0) for shadow in (0.7, 6.0))

    def judged(found):
        measures = {measure.name: measure for measure in scene_measures(pair, found, [dark, light])}
        return next(measure for name, measure in measures.items() if name.startswith("contact shadow"))

    assert (judged([dark, light]).value, judged([dark, light]).n) == (0.7, 1)
    assert judged([dark, dark]).passed
    assert not judged([light, light]).passed


def test_edges_are_the_same_a_pixel_aside_and_not_elsewhere():
    drawn = np.zeros((64, 64), bool)
    drawn[20] = True
    assert edge_f1(np.roll(drawn, 1, axis=0), drawn) == 1
    assert edge_f1(np.roll(drawn, 20, axis=0), drawn) == 0
    assert edge_f1(~drawn & False, drawn) == 0
    both = drawn | np.roll(drawn, 20, axis=0)
    assert edge_f1(both, drawn) == pytest.approx(2 / 3)


def test_true_edges_score_one(scenes):
    for scene in scenes[:4]:
        control = canny(scene.image) > 0
        assert edge_f1(control, control) == pytest.approx(1)


def test_a_composition_is_the_clients(scenes):
    composition = composed(scenes[0])
    assert np.array_equal(composition.mask_image < 128, scenes[0].mask)
    assert (composition.image[scenes[0].alpha == 0] == 127).all()


def test_the_cup_fills_its_box():
    mask = coffee_mask()
    assert mask.shape == coffee_photo().shape[:2]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert np.abs(np.array([columns[0], rows[0], columns[-1], rows[-1]]) - COFFEE_BOX).max() < 8
    # Coffee, cup and saucer are in, the table is not.
    assert mask[130, 300]
    assert mask[300, 200]
    assert not mask[20, 100]


def test_ious_of_an_answer():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2], masks[1, :1] = True, True
    answer = Answer(masks, np.ones(3, np.float32))
    assert answer.ious(masks[0]).tolist() == [1.0, 0.5, 0.0]


def test_a_click_on_a_part_may_mean_the_whole():
    def asked(kind, ious, predicted, **more):
        return Asked(kind, 0, False, np.array(ious), np.array(predicted, np.float32), 0.1, **more)

    # Honest of the whole: predictions are the IoUs with it, and the third mask is the part.
    part = asked("part", [0.2, 0.1, 0.8], [0.9, 0.6, 0.8], whole=np.array([0.9, 0.6, 0.2]))
    others = [asked("clutter", [iou] * 3, [iou] * 3) for iou in (0.9, 0.5)]
    values = {measure.name: measure.value for measure in sam_measures([part, *others])}
    assert values["correlation of predicted with true IoU, all masks"] == pytest.approx(1)
    assert values["the same, if a click on a part always means the part"] < 0.5
    assert values["point on a part: mean IoU of the answer with the part or the whole"] == 0.9


def test_things_that_are_mostly_hidden_are_counted_by_themselves():
    def clicked(iou, visible, covered):
        ious, product = np.full(3, iou), np.array([covered, 1, 1])
        return Asked("clutter", 0, False, ious, ious.astype(np.float32), 0.1, visible, product)

    asked = [clicked(0.9, 1.0, 0.0), clicked(0.8, 0.5, 0.05), clicked(0.1, 0.49, 0.9)]
    values = {measure.name: measure.value for measure in sam_measures(asked)}
    assert values["mean IoU, point on another thing that shows"] == pytest.approx(0.85)
    assert values["share of IoU below 0.7, point on another thing that shows"] == 0
    assert values["share of IoU below 0.7, point on another thing mostly hidden"] == 1
    assert values["mean IoU, point on any other thing"] == pytest.approx(0.6)
    assert values["point on any other thing: share that leaves the product out"] == pytest.approx(2 / 3)


def test_measures_know_whether_they_pass():
    assert Measure("a", 0.9, 1, at_least=0.9).passed
    assert Measure("a", 0.9, 1, at_most=0.8).passed is False
    assert Measure("a", 0.9, 1).passed is None
    assert Measure("a", float("nan"), 1, at_least=0.0).passed is False


def test_a_report_has_numbers_targets_and_where_they_come_from(tmp_path):
    section = Section("vae", (0, 9), [Measure("PSNR, dB", 36.54321, 10, at_least=36)])
    ReportFile(tmp_path / "evaluation.json", tmp_path).add(section)
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["sections"]["vae"]["machine"]["cores"] > 0
    assert report["sections"]["vae"]["measures"] == [
        {"name": "PSNR, dB", "value": 36.5432, "n": 10, "at_least": 36, "passed": True}
    ]
    assert "pass" in table(section)


def test_a_section_that_is_measured_again_leaves_the_others_where_they_are_to_be_kept(tmp_path):
    path = tmp_path / "evaluation.json"
    first = ReportFile(path, tmp_path)
    for name in ("vae", "sam"):
        first.add(Section(name, (0, 9), [Measure("one", 1.0, 10)]))
    ReportFile(path, tmp_path, keep=True).add(Section("vae", (0, 9), [Measure("one", 2.0, 10)]))
    sections = json.loads(path.read_text())["sections"]
    assert {name: section["measures"][0]["value"] for name, section in sections.items()} == {
        "vae": 2,
        "sam": 1,
    }
    ReportFile(path, tmp_path).add(Section("vae", (0, 9), [Measure("one", 3.0, 10)]))
    assert list(json.loads(path.read_text())["sections"]) == ["vae"]


def test_sheets_are_split_into_pages(tmp_path):
    picture = np.zeros((32, 48, 3), np.uint8)
    write_sheets(
        tmp_path, "some", [[picture, picture]] * 5, ("left", "right"), ["a caption"] * 5, rows_each=3
    )
    first = cv2.imread(str(tmp_path / "some-1.png"))
    assert first is not None
    assert first.shape[1] == 2 * 48 + 3 * 4
    assert (tmp_path / "some-2.png").exists()
    assert not (tmp_path / "some-3.png").exists()
