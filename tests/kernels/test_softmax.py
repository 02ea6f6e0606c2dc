"""Rules by a softmax over all codes, on clouds that are hard for products, against their twins in float64."""

import numpy as np
import pytest
import twins

from vqtheory import Batches
from vqtheory.rules import IBQ, EntropyVQ, HyperVQ

DIM, NUM_CODES, BATCH = 20, 24, 70  # in more dimensions than are summed directly
# over the largest move: the bound of products at the lowest temperature, 2e-5; the direct sum's own error at 0.01
MOST = {np.float64: 1e-8, np.float32: 3e-3}


def cloud(name, dtype):
    """Codes, latents, weights, and a temperature that fits."""
    random = np.random.default_rng(1)
    codes, x = random.normal(size=(NUM_CODES, DIM)), random.normal(size=(1, BATCH, DIM))
    weight, temperature = random.random((1, BATCH)) + 0.1, 0.01
    if name == "one far away, of no weight":
        x[0, 3], weight[0, 3] = 1e6, 0
    if name == "one far away":
        x[0, 3] = 1e3
    if name == "close codes in clusters":
        middles, gap = random.normal(size=(NUM_CODES // 6, DIM)), 1e-3
        codes = np.repeat(middles, 6, axis=0) + gap * random.normal(size=codes.shape)
        x = middles[random.integers(len(middles), size=(1, BATCH))] + gap * random.normal(size=x.shape)
        temperature = gap**2 * DIM
    if name == "far from the origin":
        codes, x = codes + 100, x + 100
    return codes.astype(dtype), x.astype(dtype), weight.astype(dtype), temperature


@pytest.mark.parametrize("dtype", MOST)
@pytest.mark.parametrize(
    "name", ["plain", "one far away, of no weight", "one far away", "close codes in clusters", "far from the origin"]
)
@pytest.mark.parametrize("make", [lambda t: EntropyVQ(0.3), lambda t: IBQ(0.3, "l2", t, 0.05, t)], ids=["EntropyVQ", "IBQ"])
def test_products_are_as_precise_as_the_direct_sum(make, name, dtype):
    codes, x, weight, temperature = cloud(name, dtype)
    rule = make(temperature)
    after, _ = rule.advance(rule.init(codes), Batches(x, weight=weight))
    start, exact = rule.init(codes.astype(np.float64)), Batches(x.astype(np.float64), weight=weight.astype(np.float64))
    expected = twins.play(rule, start, exact)["codes"]
    rounding = np.finfo(dtype).eps * np.abs(expected).max()  # of the codes themselves
    assert np.abs(after.codes - expected).max() < MOST[dtype] * np.abs(expected - start.codes).max() + rounding


@pytest.mark.parametrize("dtype", MOST)
@pytest.mark.parametrize("similarity", ["dot", "l2"])
def test_the_lowest_temperature_gives_numbers(dtype, similarity):
    codes, x, weight, _ = cloud("plain", dtype)
    rule = IBQ(0.3, similarity, temperature=1.2e-38, entropy_weight=0.0)
    assert np.isfinite(rule.advance(rule.init(10 * codes), Batches(10 * x, weight=weight))[0].codes).all()


def test_a_codebook_that_has_run_away_still_gives_indices():
    codes, x, *_ = cloud("plain", np.float64)
    rule = HyperVQ()
    state = rule.init(codes)
    lost = state._replace(gains=np.full_like(state.gains, np.nan))
    assert set(rule.assign(x[0], lost)) <= set(range(NUM_CODES))
