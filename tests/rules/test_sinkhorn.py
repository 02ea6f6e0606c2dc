"""Sinkhorn by products: prices and codes are as by the direct sum, whether distances are kept or made anew."""

import numpy as np
import pytest
import twins

from vqtheory import Batches
from vqtheory._kernels import scores
from vqtheory.rules import Sinkhorn, sinkhorn

both = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RANDOM = np.random.default_rng(0)
X, CODES, WEIGHT = RANDOM.normal(size=(3, 40, 3)), RANDOM.normal(size=(37, 3)), RANDOM.integers(0, 3, (3, 40)).astype(float)
FAR = np.arange(37)[:, None] % 3 == 0
CLOUDS = {
    "plain": (X, CODES),
    "far from the origin": (1e6 + X, 1e6 + CODES),
    "two clouds": (X + 1e6 * (np.arange(40)[:, None] % 2), CODES + 1e6 * FAR),
    "duplicates": (X, CODES[np.arange(37) // 3]),
    "collapsed": (X, np.zeros_like(CODES)),
    "codes out of reach": (X, CODES + 60.0 * FAR),
    "codes far out of reach": (X, CODES + 1e4 * FAR),
    "latents on codes": (np.tile(CODES, (2, 1))[None, :40] + 1e-4 * X, CODES),
}


@pytest.fixture
def by_product(monkeypatch):
    """Small batches too, in blocks of 16."""
    monkeypatch.setattr(sinkhorn, "by_batch", lambda *_: True)
    monkeypatch.setattr(scores, "_BLOCK", 0)
    monkeypatch.setattr(scores, "_LEAST", 16)


@pytest.mark.filterwarnings("ignore:Sinkhorn has not balanced")
@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_product_moves_codes_as_the_direct_sum_does(cloud, by_product):
    """Within some roundings of the largest price, from which those of near codes have been taken off."""
    x, codes = CLOUDS[cloud]
    rule, batches = Sinkhorn(0.3, rounds=40, tolerance=0.01), Batches(x, weight=WEIGHT)
    state, _ = rule.advance(rule.init(codes), batches)
    expected = twins.play(rule, rule.init(codes), batches)
    rounding = 200 * np.finfo(float).eps * (np.abs(expected["prices"]).max() + 1)
    np.testing.assert_allclose(state.codes, expected["codes"], rtol=1e-14, atol=0)
    np.testing.assert_allclose(state.prices, expected["prices"], rtol=0, atol=rounding)


@both
@pytest.mark.filterwarnings("ignore:Sinkhorn has not balanced")
@pytest.mark.parametrize("cloud", ["plain", "codes out of reach"])
def test_rows_that_are_not_kept_and_runs_in_parts_have_the_same_bits(cloud, dtype, by_product, monkeypatch):
    rule, (x, codes) = Sinkhorn(0.3), (values.astype(dtype) for values in CLOUDS[cloud])
    state, info = rule.advance(rule.init(codes), Batches(x))
    monkeypatch.setattr(scores, "_KEPT", 0)
    parts = rule.init(codes)
    for batch in x:
        parts, last = rule.advance(parts, Batches(batch[None]))
    np.testing.assert_array_equal(parts.codes, state.codes)
    np.testing.assert_array_equal(parts.prices, state.prices)
    np.testing.assert_array_equal(last["assignment"], info["assignment"])
    assert last["imbalance"][0] == info["imbalance"][-1]


@both
def test_what_a_product_is_too_coarse_for_is_summed_directly(dtype, by_product, monkeypatch):
    """The bits of the direct sum for clouds that are far from each other, and not for one that is far from the origin."""
    spread = {np.float32: 3e3, np.float64: 3e7}[dtype]
    rule, ways = Sinkhorn(0.3, rounds=1, tolerance=10.0), {}
    for name, shift, offset in (("one", spread, 0.0), ("two", 0.0, spread)):
        x = (X + shift + offset * (np.arange(40)[:, None] % 2)).astype(dtype)
        codes = (CODES + shift + offset * FAR).astype(dtype)
        for product in (True, False):
            monkeypatch.setattr(sinkhorn, "by_batch", lambda *_, product=product: product)
            ways[name, product] = rule.advance(rule.init(codes), Batches(x))[1]["imbalance"]
    assert (ways["two", True] == ways["two", False]).all()
    assert (ways["one", True] != ways["one", False]).any()


@both
def test_many_codes_are_balanced_and_the_lowest_of_equal_ones_wins(dtype):
    """At a size that goes by products: half of the codes stand where the others do."""
    random = np.random.default_rng(1)
    codes, x = random.normal(size=(256, 8)).astype(dtype), random.normal(size=(1, 2048, 8)).astype(dtype)
    rule = Sinkhorn(temperature=0.1, rounds=300, tolerance=0.01)
    _, info = rule.advance(rule.init(codes), Batches(x))
    assert info["imbalance"][0] <= 0.01
    assert info["hits"].min() > 0
    _, twice = rule.advance(rule.init(np.concatenate([codes, codes])), Batches(x))
    assert twice["imbalance"][0] <= 0.01
    np.testing.assert_array_equal(twice["hits"][256:], 0)
