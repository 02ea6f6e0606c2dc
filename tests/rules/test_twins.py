"""Every compiled kernel against its naive twin, compiled and as plain Python."""

import os
import subprocess
import sys

import numpy as np
import pytest
import table
import twins
import wrapped_twins  # noqa: F401 (enters its twins)

from vqtheory import Batches
from vqtheory._kernels import softmax
from vqtheory.assign import nearest
from vqtheory.rules import (
    EMA,
    GRITVQ,
    IBQ,
    NSVQ,
    VQ,
    Affine,
    EntropyVQ,
    HyperVQ,
    Reestimate,
    Replacement,
    Sinkhorn,
    TrainedVQ,
)
from vqtheory.rules.maps import MapRule
from vqtheory.rules.replacement import POLICIES
from vqtheory.rules.wrapper import cut
from vqtheory.schedules import exponential, harmonic

CASES = [(1, 1, 1), (1, 5, 3), (4, 1, 16), (3, 7, 5), (2, 16, 2), (2, 150, 1), (3, 130, 4)]  # D, K, B
OTHERS = [
    VQ(harmonic(0.9)),
    EMA(0.8, smoothing=0.1),
    NSVQ(strength=0.3, decay=0.0),
    NSVQ(0.3, exponential(1.5, half_life=2), strength=0.4),
    NSVQ(0.3, 0.7, strength=0.9, form="propagate"),
    TrainedVQ(0.05, weight_decay=0.3),
    EntropyVQ(0.3, strength=0.8, temperature=3.0, balance=0.5),
    GRITVQ(0.3, radius=0.5, rank=2, decoder=2.0),
    Affine(VQ(0.3)),
    Affine(VQ(0.3), "scalar", decay=0.5),
    Sinkhorn(0.3, temperature=0.1, rounds=30),
    Replacement(TrainedVQ(0.05), every=2, policy="split"),
    Reestimate(EMA(0.8), every=3, until=3, reservoir=150),
    *(Replacement(EMA(0.8), every=2, policy=policy) for policy in POLICIES),
]


def data(dim, num_codes, batch_size, steps=4):
    random = np.random.default_rng([dim, num_codes, batch_size])
    codes, x = random.normal(size=(num_codes, dim)), random.normal(size=(steps, batch_size, dim)) + 0.3
    return codes, Batches(x, random.normal(size=x.shape), random.random(x.shape[:2]))


def started(rule, codes):
    """The state of `init`; a single code, or a single dimension, is not enough for some rules."""
    try:
        return rule.init(codes)
    except ValueError as error:
        if 1 not in codes.shape:
            raise
        pytest.skip(str(error))


@pytest.mark.filterwarnings("ignore:Replacement has at least", "ignore:Reestimate leaves", "ignore:(Affine|Wasserstein)")
@pytest.mark.parametrize(("dim", "num_codes", "batch_size"), CASES)
class TestTwins:
    def test_nearest(self, dim, num_codes, batch_size):
        codes, batches = data(dim, num_codes, batch_size)
        assignment, squared = nearest(batches.x[0], codes)
        for sample, k, distance in zip(batches.x[0], assignment, squared, strict=True):
            best, distances = twins.nearest(sample, codes)
            assert (k, distance) == (best, distances[best])

    @pytest.mark.parametrize("rule", [*table.RULES, *OTHERS], ids=repr)
    def test_advance(self, dim, num_codes, batch_size, rule):
        """Within the rounding of a few hundred operations on numbers of order one; a map has thousands, and Adam
        divides by the root of a mean square, so that an entry with a gradient near 0 carries its rounding. A ball has
        hyperbolic sines, which amplify that of a direction."""
        codes, batches = data(dim, num_codes, batch_size)
        state = started(rule, codes)
        after, info = rule.advance(state, batches if rule.needs_displacement else batches._replace(displacement=None))
        tolerance = 1e-8 if isinstance(rule, MapRule) else 1e-11 if isinstance(rule, HyperVQ) else 1e-13
        for name, expected in twins.play(rule, state, batches).items():
            np.testing.assert_allclose(getattr(after, name), expected, rtol=tolerance, atol=tolerance, err_msg=name)
        assert info["hits"].sum() == batches.weight.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_by_product(dtype):
    """The least codebook that goes by it, one sample at a time and as a batch, to the bit."""
    codes, batches = data(128, 65, 64, steps=1)
    codes, x, weight = codes.astype(dtype), batches.x[0].astype(dtype), batches.weight[0].astype(dtype)
    by_wins = VQ(harmonic(1.0), clock="wins")
    for rule in (VQ(0.3), by_wins):
        one_by_one = Batches(x[:6, None], weight=weight[:6, None])
        state, info = rule.advance(rule.init(codes), one_by_one)
        expected, _, distances = twins.one_by_one(codes, x[:6], rule, weight[:6])
        np.testing.assert_array_equal(state.codes, expected)
        np.testing.assert_allclose(info["distortion"] * weight[:6], distances, rtol=4 * np.finfo(dtype).eps)
    winners = [twins.nearest_in_order(sample, codes)[0] for sample in x]
    np.testing.assert_array_equal(nearest(x, codes)[0], winners)
    close_to = 100 * np.finfo(dtype).eps  # of at most 64 sums of numbers of order one
    for rule in (VQ(0.3), by_wins, EMA(0.8)):
        state = rule.init(codes)
        after, _ = rule.advance(state, Batches(x[None], weight=weight[None]))
        expected = twins.play(rule, state, Batches(x[None], weight=weight[None]))
        np.testing.assert_allclose(after.codes, expected["codes"], rtol=0, atol=close_to)


@pytest.mark.parametrize("kept", [0, 2**20], ids=["in blocks", "at once"])
@pytest.mark.parametrize("rule", [EntropyVQ(0.3), IBQ(0.3), IBQ(0.3, "l2", entropy_temperature=0.5), HyperVQ(0.3)], ids=repr)
def test_softmax_over_all_codes(rule, kept, monkeypatch):
    """In more dimensions than are summed directly: by blocks of latents, the last one smaller, or all at once."""
    monkeypatch.setattr(softmax, "_KEPT", kept)
    codes, batches = data(20, 30, 150, steps=2)
    state = rule.init(codes / 3)
    after, info = rule.advance(state, batches._replace(displacement=None))
    for name, expected in twins.play(rule, state, batches).items():
        np.testing.assert_allclose(getattr(after, name), expected, rtol=1e-11, atol=1e-11, err_msg=name)
    assert info["assignment"].tolist() == rule.assign(batches.x[-1], rule.advance(state, cut(batches, slice(1)))[0]).tolist()


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is the run without compilation")
def test_twins_hold_without_compilation():
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
