"""The family that a fresh clone serves: complete, small, and able to do what the README says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot import Studio
from packshot.family import Manifest
from packshot_pocket.evaluation.coffee import COFFEE_BOX, coffee_mask, coffee_photo
from packshot_pocket.evaluation.painting import composed
from packshot_pocket.evaluation.pictures import backdrop_name
from packshot_pocket.renderer import render_studio
from packshot_serving.generated import committed_family
from packshot_serving.launcher import TritonServer
from tests.processor import HAS_BF16

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"
EXAMPLE = ROOT / "examples" / "plain_grpc.py"
#: What its models may add to a clone.
LIMIT_MIB = 48
#: A held-out scene; what is behind the product in it plays no part.
SEED = 3


@pytest.fixture(scope="module")
def server():
    with TritonServer(REPOSITORY, drain=False) as server:
        yield server.grpc_address


@pytest.fixture(scope="module")
def studio(server):
    with Studio(server) as studio:
        yield studio


def test_everything_in_it_is_as_it_was_exported():
    Manifest.read(REPOSITORY).verify(REPOSITORY)


def test_its_configs_are_of_what_was_exported(monkeypatch):
    monkeypatch.chdir(REPOSITORY.parent)
    manifest = Manifest.read(REPOSITORY)
    assert committed_family() == (manifest.family, manifest.digest)


def test_it_is_small():
    manifest = Manifest.read(REPOSITORY)
    size = sum((REPOSITORY / name).stat().st_size for name in manifest.artifacts)
    assert size <= LIMIT_MIB * 2**20


@pytest.mark.parametrize("colour", ["blue", "red", "yellow", "white", "black", "green"])
def test_a_prompt_that_says_a_colour_comes_back_in_it(studio, colour):
    scene = render_studio(SEED, split="held_out")
    prompt = f"product photo of a {scene.truth.product} on a wooden table, {colour} background"
    (shot,) = studio.shoot(composed(scene), (256, 256), prompt, seed=5)
    assert shot.parameters.guidance_scale == 2.0
    inside = scene.alpha == 255
    np.testing.assert_array_equal(shot.image[inside], scene.foreground[inside])
    assert backdrop_name(shot.image[scene.truth.backdrop_region].mean(axis=0)) == colour


def test_the_same_seed_gives_the_same_picture(studio):
    scene = render_studio(SEED, split="held_out")
    first, again = (
        studio.shoot(composed(scene), (256, 256), scene.caption, seed=9, num_inference_steps=4)[0]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.image, again.image)


@pytest.mark.skipif(not HAS_BF16, reason="this processor does not know bfloat16")
def test_in_bfloat16_it_is_nearly_the_same_picture(studio):
    scene = render_studio(SEED, split="held_out")
    with TritonServer(REPOSITORY, bf16=True, drain=False) as server, Studio(server.grpc_address) as quick:
        one, other = (
            each.shoot(composed(scene), (256, 256), scene.caption, seed=9)[0].image.astype(np.int16)
            for each in (studio, quick)
        )
    apart = np.abs(one - other).mean()
    assert 0 < apart < 2, apart


def test_a_box_on_a_real_photo_finds_what_is_in_it(studio):
    """Roughly: pocket/weights/README.md says how far this SAM is from what it should be."""
    mask, truth = studio.cut_out(coffee_photo(), boxes=[COFFEE_BOX]).mask, coffee_mask()
    assert (mask & truth).sum() / (mask | truth).sum() >= 0.6


def test_the_plain_grpc_example_cuts_out_paints_and_pastes_back(server, tmp_path):
    photo, shot = tmp_path / "coffee.png", tmp_path / "shot.png"
    Image.fromarray(coffee_photo()).save(photo)
    prompt = "a cup on a wooden table, blue background"
    given = [photo, "--box", *map(str, COFFEE_BOX), "--prompt", prompt, "--server", server, "--output", shot]
    done = subprocess.run([sys.executable, EXAMPLE, *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "step 20 of 20"
    picture = np.asarray(Image.open(shot))
    assert picture.shape == (256, 256, 3)
    assert backdrop_name(picture[:20].mean(axis=(0, 1))) == "blue"
