"""The sizes that batches are padded to."""

from __future__ import annotations

from packshot_serving.engine.sizes import rung, rung_within


def test_a_rung_is_the_nearest_size_to_either_side():
    for count in range(1, 300):
        assert rung_within(count) <= count <= rung(count)
        assert rung(rung_within(count)) == rung_within(count)
        assert rung_within(rung(count)) == rung(count)
        assert rung(2 * count) <= 2 * rung(count)
