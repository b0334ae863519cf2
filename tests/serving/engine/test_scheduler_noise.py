"""The fresh noise of an ancestral scheduler: a function of seed and step, frozen forever."""

import numpy as np
import pytest

from packshot.errors import InvalidArgument
from packshot_serving.engine import initial_noise, make_schedule
from packshot_serving.engine.noise import add_step_noise, step_noise

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
#: Frozen in the first version. If this fails, every published seed has changed its meaning.
GOLDEN = {
    (0, 0): [-0.5897631049156189, 0.9339673519134521, 0.056693822145462036, 0.6510152816772461],
    (0, 1): [-0.05363151803612709, 0.19875097274780273, 2.3578031063079834, -0.0064564840868115425],
    (1, 0): [0.3146857023239136, 0.49067965149879456, 0.2974258363246918, 1.3550364971160889],
    (2**32, 7): [-1.176707148551941, -0.26192808151245117, 0.3232230246067047, 1.4189457893371582],
    (2**63 - 1, 199): [-0.040454406291246414, 0.4560413360595703, 0.7702918648719788, -1.0539478063583374],
}


@pytest.mark.parametrize(("seed", "step"), GOLDEN)
def test_a_seed_and_step_give_the_noise_they_always_gave(seed, step):
    noise = step_noise(seed, step, (4, 8, 8))
    assert (noise.dtype, noise.shape) == (np.dtype(np.float32), (4, 8, 8))
    np.testing.assert_allclose(noise.ravel()[:4], GOLDEN[seed, step], rtol=1e-6)


def test_no_step_repeats_the_noise_of_another_or_that_of_the_beginning():
    drawn = [initial_noise(3, (256,)), *(step_noise(3, step, (256,)) for step in range(200))]
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    assert abs(correlation).max() < 0.35  # 20 000 pairs of 256 independent values stay below 0.3


def test_noise_has_zero_mean_and_unit_variance():
    noise = step_noise(3, 5, (4, 128, 128))
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_other_seeds_are_refused():
    with pytest.raises(InvalidArgument, match="seed"):
        step_noise(-1, 0, (1,))


def test_noise_is_added_to_the_sample_only():
    schedule = make_schedule("euler_ancestral", CONFIG, 10)
    state = np.full((schedule.state_size, 4, 3, 2), 2.0, np.float32)
    noisy = add_step_noise(state, schedule, seed=9, step=4)
    assert noisy.dtype == np.float32
    np.testing.assert_allclose(
        noisy[0], 2 + schedule.noise_gain[4, 0] * step_noise(9, 4, (4, 3, 2)), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(noisy[1:], state[1:])
    assert (state == 2).all(), "the runner's own array is left alone"


def test_nothing_is_drawn_or_copied_where_no_noise_is_wanted():
    ancestral, plain = (make_schedule(name, CONFIG, 10) for name in ("euler_ancestral", "euler"))
    state = np.zeros((4, 4, 3, 2), np.float32)
    assert add_step_noise(state, ancestral, seed=9, step=9) is state
    assert add_step_noise(state, plain, seed=9, step=0) is state
