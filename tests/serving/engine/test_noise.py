"""A seed means the same noise for ever."""

import numpy as np
import pytest

from packshot.errors import InvalidArgument
from packshot_serving.engine import initial_noise

#: Frozen in the first version. If this fails, every published seed has changed its meaning.
GOLDEN = {
    0: [-0.36259031295776367, -0.4159747362136841, 0.9548649191856384, -0.9255024194717407],
    1: [-0.7801458835601807, 0.8401660323143005, -3.0132040977478027, -0.27232831716537476],
    2**32: [-0.20099112391471863, -0.9466184377670288, 0.040022674947977066, -0.17314402759075165],
    2**63 - 1: [1.0388755798339844, -1.4511972665786743, -0.21159105002880096, 1.3802027702331543],
}


@pytest.mark.parametrize("seed", GOLDEN)
def test_a_seed_gives_the_noise_it_always_gave(seed):
    noise = initial_noise(seed, (4, 8, 8))
    assert (noise.dtype, noise.shape) == (np.dtype(np.float32), (4, 8, 8))
    np.testing.assert_allclose(noise.ravel()[:4], GOLDEN[seed], rtol=1e-6)


def test_noise_has_zero_mean_and_unit_variance():
    noise = initial_noise(3, (4, 128, 128))
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True])
def test_other_seeds_are_refused(seed):
    with pytest.raises(InvalidArgument, match="seed"):
        initial_noise(seed, (1,))


def test_the_global_generator_is_left_alone():
    np.random.seed(5)
    first = np.random.random()
    np.random.seed(5)
    initial_noise(0, (4,))
    assert np.random.random() == first
