"""What the classic rules are known for: ranks, grids, and even usage."""

import numpy as np
import pytest
import twins

from vqtheory import Batches
from vqtheory.rules import CVQ, FSCL, SOM, VQ, Conscience, NeuralGas
from vqtheory.schedules import exponential


def latents(steps, batch_size, dim=2, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, batch_size, dim))


@pytest.mark.parametrize("neighbourhood", ["gaussian", "bubble"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_map_in_two_dimensions_is_its_twin(neighbourhood, batch_size):
    rule, x = SOM(0.3, 1.2, grid=[3, 4], neighbourhood=neighbourhood), latents(4, batch_size)
    state = rule.init(np.random.default_rng(1).normal(size=(12, 2)))
    weighted = Batches(x, weight=np.random.default_rng(2).random(x.shape[:2]))
    after, _ = rule.advance(state, weighted)
    np.testing.assert_allclose(after.codes, twins.play(rule, state, weighted)["codes"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", [NeuralGas(0.3, 3.0), SOM(0.3, 3.0), FSCL(0.3), Conscience(0.3, 2.0), CVQ(0.3)], ids=repr)
def test_many_codes_by_products_and_by_few_ranks_are_their_twin(rule, dtype):
    """Codes as many as products are worth while for, and far more than a neighbourhood has weight for."""
    x = latents(2, 64, 16, seed=3).astype(dtype)
    state = rule.init(np.random.default_rng(4).normal(size=(600, 16)).astype(dtype))
    batches = Batches(x, weight=np.ones(x.shape[:2], dtype))
    after, _ = rule.advance(state, batches)
    close_to = 300 * np.finfo(dtype).eps
    np.testing.assert_allclose(after.codes, twins.play(rule, state, batches)["codes"], rtol=0, atol=close_to)


def test_codes_equally_near_have_one_rank():
    rule = NeuralGas(0.5, range=1.0)
    state, _ = rule.advance(rule.init(np.array([[1.0], [-2.0], [2.0], [3.0]])), Batches(np.zeros((1, 1, 1))))
    moved = 0.5 * np.exp([0.0, -1.0, -1.0, -3.0])
    np.testing.assert_allclose(state.codes.ravel(), [1, -2, 2, 3] * (1 - moved), rtol=1e-15)


@pytest.mark.parametrize(
    "rule", [NeuralGas(2.0, exponential(8.0, 60)), SOM(2.0, exponential(6.0, 60)), Conscience(1.0, 150.0), CVQ(1.0)]
)
def test_all_codes_come_back_from_a_jump(rule):
    """Where those of plain VQ do not: a codebook on one side, latents a hundred spreads away."""
    codes, x = latents(1, 16, seed=5)[0], latents(1500, 64, seed=6) + 100
    alive = {}
    for one in (rule, VQ(1.0)):
        state, _ = one.advance(one.init(codes), Batches(x))
        _, info = VQ(0.1).advance(VQ(0.1).init(state.codes), Batches(latents(1, 2000, seed=7) + 100))
        alive[type(one)] = (info["hits"] > 0).sum()
    assert alive == {type(rule): 16, VQ: 1}


@pytest.mark.parametrize("rule", [FSCL(0.5, fairness=4.0, decay=0.99), Conscience(0.5, bias=3.0)], ids=repr)
def test_usage_is_more_even_than_that_of_plain_vq(rule):
    """In training: the least over the most of the wins of 8 codes on a Gaussian in one dimension."""
    x, ratio = latents(4000, 32, 1, seed=8), {}
    for one in (rule, VQ(0.5)):
        state, _ = one.advance(one.init(x[0, :8].copy()), Batches(x[:2000]))
        hits = one.advance(state, Batches(x[2000:]))[1]["hits"]
        ratio[type(one)] = hits.min() / hits.max()
    assert ratio[type(rule)] > 0.6 > 0.3 > ratio[VQ]


def test_without_fairness_and_without_bias_it_is_plain_vq():
    x, codes = latents(20, 8), latents(1, 6, seed=9)[0]
    expected, _ = VQ(0.5).advance(VQ(0.5).init(codes), Batches(x))
    for rule in (FSCL(0.5, fairness=0.0), Conscience(0.5, bias=0.0)):
        after, _ = rule.advance(rule.init(codes), Batches(x))
        np.testing.assert_array_equal(after.codes, expected.codes)
