"""Numbers as callers have them, and what the settings made of them are."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from packshot import InvalidArgument, Options, Parameters, Placement
from packshot.checks import integer, number
from packshot.contract import PARAMETER_NAMES
from packshot.generation import parameter_arrays
from packshot.parameters import first_step
from packshot.shot import ParameterFields
from tests.client.pictures import opaque


@pytest.mark.parametrize("value", [5, np.int8(5), np.int64(5), np.uint64(5)])
def test_every_integer_becomes_a_plain_one(value):
    assert type(integer("n", value, 0, 9)) is int
    assert integer("n", value, 5, 5) == 5


@pytest.mark.parametrize(
    "value", [2, 2.0, np.int32(2), np.float16(2), np.float32(2), np.float64(2), Fraction(2)]
)
def test_every_number_becomes_a_plain_float(value):
    assert type(number("x", value, 0, 9)) is float
    assert number("x", value, 2, 2) == 2.0


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (True, "True"), (np.True_, "True"), ("3", "'3'"), (None, "None"), (3.0, "3.0"), (-1, "-1"), (10, "10"),
        (np.uint64(2**64 - 1), "18446744073709551615"), (np.ones(2), r"float64\[2\]"), pytest.param(10**5000, "a very long int", id="5001 digits"),
    ],
)  # fmt: skip
def test_what_is_no_integer_of_the_range_is_refused(value, got):
    with pytest.raises(InvalidArgument, match=f"n: got .*{got}.*, expected an integer from 0 to 9$"):
        integer("n", value, 0, 9)


@pytest.mark.parametrize(
    "value", [True, "3", None, 1j, float("nan"), np.float32("inf"), -0.1, 9.1, 10**400, np.ones(1)]
)
def test_what_is_no_number_of_the_range_is_refused(value):
    with pytest.raises(InvalidArgument, match=r"x: got .*, expected a number from 0 to 9$"):
        number("x", value, 0, 9)
    with pytest.raises(InvalidArgument, match=r"x: got 0, expected a number above 0, up to 9$"):
        number("x", 0, 0, 9, above=True)


def test_the_contract_and_the_keywords_of_shoot_have_every_field():
    fields = set(Parameters.__dataclass_fields__)
    assert set(PARAMETER_NAMES) == set(ParameterFields.__annotations__) == fields
    assert set(parameter_arrays(Parameters(), 1)) == fields


def test_settings_made_of_numpys_numbers_are_plain():
    parameters = Parameters(np.int32(4), np.float32(1.5), [np.float32(0.5), 1], 0, np.float64(1))
    assert parameters == Parameters(4, 1.5, (0.5, 1.0), 0.0, 1.0)
    assert json.loads(json.dumps(parameters.as_dict()))["controlnet_conditioning_scale"] == [0.5, 1.0]
    placement = Placement(opaque(), np.float32(0.5), np.int64(1), np.float32(0.25), np.int16(90))
    fields = (placement.x, placement.y, placement.scale, placement.rotation_degree)
    assert [(type(field), field) for field in fields] == [
        (float, 0.5),
        (float, 1),
        (float, 0.25),
        (float, 90),
    ]
    assert type(Options(max_retries=np.int64(3)).max_retries) is int


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"control_guidance_start": ()}, r"control_guidance_start: got \(\), expected a number, or one for each"),
        ({"controlnet_conditioning_scale": ()}, r"controlnet_conditioning_scale: got \(\)"),
        ({"controlnet_conditioning_scale": (1, "2")}, "controlnet_conditioning_scale: got '2', expected a number"),
        ({"guidance_scale": (1.0,)}, r"guidance_scale: got \(1.0,\), expected a number from 0 to 50"),
        ({"control_guidance_start": (0.2, 0.9), "control_guidance_end": 0.5}, "control_guidance_start: got .* expected start < end"),
        ({"scheduler": np.array(["ddim", "euler"])}, r"scheduler: got <U5\[2\], expected one of dpmpp_2m"),
        ({"scheduler": ["ddim"]}, r"scheduler: got \['ddim'\]"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused(fields, message):
    with pytest.raises(InvalidArgument, match=message):
        Parameters(**fields)


@pytest.mark.parametrize("num_inference_steps", [6, 9, 25, 30, 77])
def test_a_strength_of_whole_steps_is_the_same_on_both_ends_of_the_wire(num_inference_steps):
    for left in range(1, num_inference_steps + 1):
        strength = left / num_inference_steps
        sent = float(str(np.float32(strength)))
        wanted = num_inference_steps - int(num_inference_steps * strength)
        assert first_step(num_inference_steps, strength) == first_step(num_inference_steps, sent) == wanted
