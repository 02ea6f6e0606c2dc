"""Two levels of a stack: the identity behind their law, and what each is given."""

import numpy as np
import pytest

from vqtheory.assign import nearest
from vqtheory.claims.laws import stacks
from vqtheory.rules import EMA, VQ
from vqtheory.simulation.alive import optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Scaling, Stream, Translation, Uniform

SIZES = (4, 8)
STREAM = Stream(Uniform(dim=1), Translation(1e-3))


@pytest.fixture(scope="module")
def run():
    return stacks.follow_levels(VQ(stacks.ETA), Translation(1e-3), SIZES, 800, seed=3)


def test_the_codes_move_by_the_rests_of_their_latents(run):
    """sum_k c_k(T) - c_k(0) = eta sum_t E[r_t], to rounding; the first level is moved as by itself."""
    codes = follow(VQ(stacks.ETA), STREAM, optimum(4), 800, 3, stacks.BATCH).codes
    assert (codes - optimum(4)).sum() == pytest.approx(stacks.ETA * run.means[:, 1].sum(), rel=1e-9)


def test_the_second_level_is_given_what_the_first_leaves(run):
    x = STREAM.draw(0, 1, stacks.BATCH, 3).x[0]
    rest = x - optimum(4)[nearest(x, optimum(4))[0]]
    assert (run.means[0, 1], run.spreads[0, 1]) == pytest.approx((rest.mean(), rest.std()), rel=1e-12)
    assert run.spreads[-100:].mean(axis=0) == pytest.approx(np.array([1, 1 / 4]) / np.sqrt(12), rel=0.1)
    assert run.alive.tolist() == [4, 8]


@pytest.mark.parametrize(
    ("rule", "drift", "share"),
    [
        (VQ(stacks.ETA), Translation(9 / 32 / 8**3), (0.5, 1.0)),  # to which the law of many codes leaves 8 of 16
        (EMA(decay=0.9), Translation(0.1 / (2 * 8**2)), (0.5, 1.0)),
        (VQ(stacks.ETA), Scaling(-1.443 / 8**3), (0.5, 0.5)),
        (EMA(decay=0.9), Scaling(-(np.pi**2) * 0.1 / (4 * 8**2)), (0.5, 0.5)),
    ],
)
def test_a_level_is_named_by_the_motion_of_its_input_alone(rule, drift, share):
    """A rest that stands still in a translation, and shrinks with a cloud that shrinks."""
    steps = np.arange(1000)[:, None]
    if isinstance(drift, Translation):
        means, spreads = steps * [drift.speed, 0], np.ones((1000, 2)) / np.sqrt(12)
    else:
        means, spreads = np.zeros((1000, 2)), np.exp(drift.rate * steps) * [1, 0.1]
    levels = stacks.Levels(means, spreads, np.zeros(2))
    predicted = [stacks.predicted_share(rule, levels, level, 16) for level in (0, 1)]
    assert predicted == pytest.approx(share, rel=0.02)
