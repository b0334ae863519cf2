"""The pool of rendered pictures."""

from __future__ import annotations

import numpy as np
import pytest

from packshot import Placement, compose
from packshot.cutout import Cutout
from packshot_pocket.renderer import render_studio
from packshot_pocket.scenes import pool as pools
from packshot_pocket.scenes.pool import Pool, composite


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(pools, "SHARD", 2)


def test_a_pool_is_whole_shards(tmp_path):
    with pytest.raises(ValueError, match="expected a multiple of 128"):
        Pool(tmp_path, "studio", 100)


def test_a_shard_holds_the_scenes_of_its_number(tmp_path, small_shards):
    pool = Pool(tmp_path, "studio", 4, size=64)
    for shard in range(2):
        pool.draw(shard)
    images, composites, alphas = (
        np.concatenate(list(pool.arrays(n))) for n in ("images", "composites", "alphas")
    )
    for seed in range(4):
        scene = render_studio(seed, 64)
        assert (images[seed] == scene.image).all()
        assert (alphas[seed] == scene.alpha).all()
        assert pool.captions()[seed] == scene.caption
        assert (composites[seed][scene.alpha > 0] == scene.foreground[scene.alpha > 0]).all()


def test_a_pool_that_is_there_is_not_drawn_again(tmp_path, small_shards, monkeypatch):
    pool = Pool(tmp_path, "snapshot", 2, size=64)
    pool.draw(0)
    monkeypatch.setattr(pools, "ProcessPoolExecutor", None)
    pool.fill(workers=1)


def test_another_renderer_s_pictures_are_drawn_anew(tmp_path, small_shards, monkeypatch):
    pool = Pool(tmp_path, "snapshot", 2, size=64)
    pool.draw(0)
    assert pool.path("captions", 0).is_file()
    monkeypatch.setattr(pools, "renderer_version", lambda: "another")
    assert not pool.path("captions", 0).is_file()


def test_missing_shards_are_drawn_by_other_processes(tmp_path):
    pool = Pool(tmp_path, "snapshot", 128, size=16)
    pool.fill(workers=1)
    (images,) = pool.arrays("images")
    assert images.shape == (128, 16, 16, 3)


def test_the_composite_is_the_client_s():
    scene = render_studio(5, 96)
    rows, columns = np.nonzero(scene.alpha)
    x, y = (columns.min() + columns.max() + 1) / 2 / 96, (rows.min() + rows.max() + 1) / 2 / 96
    placement = Placement(Cutout(scene.foreground, scene.alpha), x=x, y=y, scale=None)
    composed = compose(placement, (96, 96))
    assert (composed.alpha == scene.alpha).all()
    assert np.abs(composed.image.astype(int) - composite(scene.foreground, scene.alpha)).max() <= 1
