"""What the denoiser's config may say."""

from __future__ import annotations

import pytest

from packshot.errors import InvalidArgument
from packshot_serving.denoiser_settings import DenoiserSettings


def test_what_is_missing_has_its_default():
    """A config of an older export, or one that was edited by hand."""
    assert DenoiserSettings.read({}) == DenoiserSettings(None, None, 64, 0.0, False, None)


def test_what_is_given_is_read():
    given = {
        "max_slots": "12",
        "max_batch": "3",
        "max_queue_size": "7",
        "default_timeout_microseconds": "1500000",
        "bf16": "true",
        "plans": "tensorrt_rtx",
    }
    assert DenoiserSettings.read({**given, "family": "{}"}) == DenoiserSettings(
        12, 3, 7, 1.5, True, "tensorrt_rtx"
    )


@pytest.mark.parametrize("name", ["max_slots", "max_batch", "max_queue_size", "default_timeout_microseconds"])
@pytest.mark.parametrize("value", ["-1", "many", "", "1.5", "\u0663"])
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(InvalidArgument, match=f"{name}: got '.*', expected .*number from"):
        DenoiserSettings.read({name: value})


def test_bf16_is_true_or_false():
    with pytest.raises(InvalidArgument, match="bf16: got 'yes', expected 'true' or 'false'"):
        DenoiserSettings.read({"bf16": "yes"})


def test_plans_are_of_a_module_that_builds_some():
    assert DenoiserSettings.read({"plans": "none"}).plans is None
    with pytest.raises(InvalidArgument, match="plans: got 'onnx', expected 'none' or one of tensorrt, "):
        DenoiserSettings.read({"plans": "onnx"})


@pytest.mark.parametrize("name", ["max_slots", "max_batch", "max_queue_size"])
def test_none_at_all_is_refused(name):
    with pytest.raises(InvalidArgument, match=name):
        DenoiserSettings.read({name: "0"})


def test_no_more_may_wait_than_a_ticket_can_count():
    assert DenoiserSettings.read({"max_queue_size": "32000"}).max_queue_size == 32_000
    with pytest.raises(
        InvalidArgument, match="max_queue_size: got '32001', expected a number from 1 to 32000"
    ):
        DenoiserSettings.read({"max_queue_size": "32001"})
