"""What a family says about itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packshot import InvalidArgument, Parameters, Placement, Studio, canny, compose
from packshot.family import Family, Manifest
from tests.client.fake_triton import FAMILY, FakeTriton
from tests.client.pictures import product

CANVAS = (96, 64)
SUITED = replace(FAMILY, generation_config={"guidance_scale": 2.0})


def test_it_comes_back_from_json_as_it_was():
    assert Family.from_json(SUITED.to_json()) == SUITED


def test_it_completes_what_a_caller_asks_for():
    assert SUITED.parameters({"num_inference_steps": 9}) == Parameters(
        num_inference_steps=9, guidance_scale=2.0
    )
    assert SUITED.parameters({"guidance_scale": 5.0}).guidance_scale == 5.0
    assert FAMILY.parameters({}) == Parameters()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"guidance": 2.0}, "generation_config: got guidance, expected some of"),
        ({"guidance_scale": -1}, "guidance_scale: got -1"),
    ],
)
def test_it_refuses_what_no_caller_could_ask_for(config, message):
    with pytest.raises(InvalidArgument, match=message):
        replace(FAMILY, generation_config=config)


def test_other_parameters_of_its_own_make_other_pictures():
    plain, suited = (Manifest(family, {}, {"a": "1"}).digest for family in (FAMILY, SUITED))
    assert plain != suited


def test_what_a_caller_leaves_out_is_what_suits_the_family():
    suited = replace(FAMILY, generation_config={"guidance_scale": 2.0, "num_inference_steps": 20})
    composition = compose(Placement(product(), y=0.5, scale=None), CANVAS)
    edges = canny(composition.image)
    with FakeTriton(suited.to_json()) as triton, Studio(triton.address) as studio:
        (shot,) = studio.shoot(composition, CANVAS, "a cup", num_inference_steps=5)
        studio.generate(composition.image, composition.mask_image, edges, "a cup")
        asked = [inputs["guidance_scale"].item() for name, inputs in triton.calls if "generate" in name]
    assert (shot.parameters.guidance_scale, shot.parameters.num_inference_steps) == (2.0, 5)
    assert asked == [2.0, 2.0]
