"""The evaluation from end to end, on random weights: it paints, measures, writes, and says that they fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from packshot.parameters import Parameters
from packshot_export.families import make_family
from packshot_pocket.evaluation.__main__ import main
from packshot_pocket.evaluation.materials import MaterialNet, load_materials, read_material, save_materials
from packshot_pocket.evaluation.painting import Order, Painter, composed
from packshot_pocket.renderer import MATERIALS, render_studio


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    make_family("tiny-sd2", directory)
    return directory


def untrained(path: Path) -> None:
    save_materials(path, MaterialNet())


def test_a_picture_has_the_real_product_and_does_not_depend_on_its_neighbours(checkpoints):
    scenes = [render_studio(seed, split="held_out") for seed in (0, 1)]
    orders = [Order(composed(scene), scene.caption, seed=5) for scene in scenes]
    painter = Painter(checkpoints)
    parameters = Parameters(num_inference_steps=2, guidance_scale=2.0)
    together = painter.paint(orders, parameters)
    (alone,) = painter.paint(orders[1:], parameters)
    assert np.abs(together[1].astype(int) - alone).max() <= 1
    inside = scenes[1].alpha == 255
    assert np.array_equal(alone[inside], scenes[1].foreground[inside])
    (unsteered,) = painter.paint(orders[1:], replace(parameters, controlnet_conditioning_scale=0.0))
    assert np.abs(unsteered.astype(int) - alone).max() > 1


def test_the_classifier_reads_only_the_table(tmp_path):
    untrained(tmp_path / "materials.pt")
    net = load_materials(tmp_path / "materials.pt")
    scene = render_studio(3, split="held_out")
    other = np.where(scene.truth.table_region[..., None], scene.image, np.uint8(9))
    read = [read_material(net, picture, scene.truth.table_region) for picture in (scene.image, other)]
    assert read[0] == read[1]
    assert read[0] in MATERIALS


def test_the_command_writes_every_section_and_fails_random_weights(checkpoints, tmp_path, capsys):
    untrained(tmp_path / "materials.pt")
    status = main(
        ["--checkpoints", str(checkpoints), "--output", str(tmp_path), "--scenes", "2", "--control-scenes", "1",
         "--photos", "2", "--steps", "1"]
    )  # fmt: skip
    assert status == 1
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(report["sections"]) == ["vae", "scenes", "controlnet", "sam"]
    for section in report["sections"].values():
        assert section["split"] == "held_out"
        assert any(measure["passed"] is False for measure in section["measures"])
    for sheet in ("vae-1", "scenes-1", "negative-1", "controlnet-1", "sam-1", "coffee-1"):
        assert (tmp_path / f"{sheet}.png").stat().st_size > 1000
    assert "FAIL" in capsys.readouterr().out


def test_speed_alone_needs_a_repository(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--checkpoints", str(tmp_path), "--output", str(tmp_path), "--only", "speed"])
    assert "expected the family as exported" in capsys.readouterr().err
