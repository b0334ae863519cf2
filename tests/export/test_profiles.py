"""Which shapes a plan takes: those of the contract, and all that are served."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from packshot.contract import GRAPHS, MODELS
from packshot.family import Canvas, Manifest
from packshot_export.profiles import canvas_buckets, profiles
from tests.families import exported


@pytest.fixture(scope="module")
def served():
    """The shallow family, as it is served."""
    return Manifest.read(exported("shallow", "fp16")[1]).family


@pytest.mark.parametrize("name", GRAPHS)
def test_profiles_hold_every_canvas_and_batch_that_is_served(served, name):
    found = profiles(GRAPHS[name], served)
    for tensor in GRAPHS[name].inputs:
        for number, axis in enumerate(tensor.dims):
            least = {profile.shapes[tensor.name][0][number] for profile in found}
            best = {profile.shapes[tensor.name][1][number] for profile in found}
            most = {profile.shapes[tensor.name][2][number] for profile in found}
            assert min(least) <= min(best) <= max(best) <= max(most)
            if axis == "B" and name in MODELS:
                assert (least, most) == ({1}, {MODELS[name].max_batch_size})
            if axis in ("h", "H"):
                pixels = served.canvas.multiple if axis == "h" else 1
                assert least == {served.canvas.min_side // pixels}
                assert max(most) == served.canvas.max_side // pixels
            if axis in served.dims:
                assert least == most == {served.dims[axis]}


def test_a_step_has_fewer_slots_where_canvases_are_larger(served):
    large = replace(served, canvas=Canvas(max_side=1024))
    slots = {
        (profile.shapes["state"][2][3], profile.shapes["state"][2][0])
        for profile in profiles(GRAPHS["step"], large)
    }
    assert slots == {(64, 2), (64, 16), (96, 2), (96, 6), (128, 2), (128, 4)}


def test_no_two_profiles_of_a_plan_are_the_same(served):
    huge = replace(served, canvas=Canvas(max_side=2048))
    found = profiles(GRAPHS["step"], huge)
    assert len(found) == 5
    assert all(one != other for one, other in itertools.combinations(found, 2))


@pytest.mark.parametrize(
    ("canvas", "buckets"),
    [
        (Canvas(), (512, 768, 1024)),
        (Canvas(max_side=768), (512, 768)),
        (Canvas(min_side=64, max_side=256), (256,)),
        (Canvas(multiple=96, min_side=96, max_side=960), (480, 768, 960)),
    ],
)
def test_canvas_buckets_are_legal_sides(canvas, buckets):
    assert canvas_buckets(canvas) == buckets
    for side in buckets:
        canvas.check(side, side)
