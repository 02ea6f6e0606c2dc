"""Every compiled kernel against its naive twin, compiled and as plain Python."""

import os
import subprocess
import sys

import numpy as np
import pytest
import twins

from vqtheory import Batches, rules, schedules
from vqtheory.assign import nearest

CASES = [(1, 1, 1), (1, 5, 3), (4, 1, 16), (3, 7, 5), (2, 16, 2), (2, 150, 1), (3, 130, 4)]  # D, K, B


def data(dim, num_codes, batch_size, steps=4):
    random = np.random.default_rng([dim, num_codes, batch_size])
    return random.normal(size=(num_codes, dim)), random.normal(size=(steps, batch_size, dim)) + 0.3, random


def close(actual, expected):
    """Within the rounding of a few hundred operations on numbers of order one."""
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("dim", "num_codes", "batch_size"), CASES)
class TestTwins:
    def test_nearest(self, dim, num_codes, batch_size):
        codes, x, _ = data(dim, num_codes, batch_size)
        assignment, squared = nearest(x[0], codes)
        for sample, k, distance in zip(x[0], assignment, squared, strict=True):
            best, distances = twins.nearest(sample, codes)
            assert (k, distance) == (best, distances[best])

    def test_vq(self, dim, num_codes, batch_size):
        codes, x, random = data(dim, num_codes, batch_size)
        weight = random.random(x.shape[:2])
        rule = rules.VQ(step_size=schedules.harmonic(0.9))
        state, info = rule.advance(rule.init(codes), Batches(x, weight=weight))
        for t, batch in enumerate(x):
            codes = twins.vq(codes, batch, 0.9 / (1 + t), weight[t])
        close(state.codes, codes)
        assert info["hits"].sum() == x.shape[0] * x.shape[1]

    def test_vq_by_wins(self, dim, num_codes, batch_size):
        codes, x, _ = data(dim, num_codes, batch_size)
        rule = rules.VQ(schedules.harmonic(1.0), clock="wins")
        state, _ = rule.advance(rule.init(codes), Batches(x))
        wins = np.zeros(num_codes, np.int64)
        for batch in x:
            codes, wins = twins.vq_by_wins(codes, batch, schedules.harmonic(1.0), wins)
        close(state.codes, codes)
        np.testing.assert_array_equal(state.wins, wins)

    @pytest.mark.parametrize("smoothing", [0.0, 1e-5, 0.1])
    def test_ema(self, dim, num_codes, batch_size, smoothing):
        codes, x, _ = data(dim, num_codes, batch_size)
        rule = rules.EMA(decay=0.8, smoothing=smoothing)
        state, _ = rule.advance(rule.init(codes), Batches(x))
        counts, sums = np.ones(num_codes), codes.copy()
        for batch in x:
            codes, counts, sums = twins.ema(codes, counts, sums, batch, 0.8, smoothing)
        close(state.codes, codes)
        close(state.counts, counts)

    @pytest.mark.parametrize("form", ["gaussian", "softmax"])
    def test_nsvq(self, dim, num_codes, batch_size, form):
        codes, x, _ = data(dim, num_codes, batch_size)
        rule = rules.NSVQ(0.3, schedules.exponential(1.5, half_life=2), strength=0.4, form=form)
        state, _ = rule.advance(rule.init(codes), Batches(x))
        for t, batch in enumerate(x):
            codes = twins.nsvq(codes, batch, 0.3, 1.5 * 0.5 ** (t / 2), 0.4, form)
        close(state.codes, codes)

    def test_propagate(self, dim, num_codes, batch_size):
        codes, x, random = data(dim, num_codes, batch_size)
        moved = random.normal(size=x.shape)
        rule = rules.NSVQ(0.3, 0.7, strength=0.9, form="propagate")
        state, _ = rule.advance(rule.init(codes), Batches(x, moved))
        for batch, moves in zip(x, moved, strict=True):
            codes = twins.propagate(codes, batch, moves, 0.3, 0.7, 0.9)
        close(state.codes, codes)

    def test_cosine(self, dim, num_codes, batch_size):
        dim = max(dim, 2)
        codes, x, _ = data(dim, num_codes, batch_size)
        rule = rules.CosineVQ(0.3)
        state, _ = rule.advance(rule.init(codes), Batches(x))
        codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
        for batch in x:
            codes = twins.cosine(codes, batch, 0.3)
        close(state.codes, codes)

    @pytest.mark.parametrize("options", [{}, {"weight_decay": 0.3}, {"optimizer": "sgd", "momentum": 0.5}])
    def test_trained(self, dim, num_codes, batch_size, options):
        codes, x, _ = data(dim, num_codes, batch_size)
        rule = rules.TrainedVQ(0.05, **options)
        state, _ = rule.advance(rule.init(codes), Batches(x))
        close(state.codes, twins.trained(codes, x, 0.05, **options))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_by_product(dtype):
    """The least codebook that goes by it, one sample at a time and as a batch, to the bit."""
    codes, x = (part.astype(dtype) for part in data(128, 65, 64, steps=1)[:2])
    state, info = rules.VQ(0.3).advance(rules.VQ(0.3).init(codes), Batches(x[0, :6, None]))
    expected, _, distances = twins.one_by_one(codes, x[0, :6], rules.VQ(0.3))
    np.testing.assert_array_equal(state.codes, expected)
    np.testing.assert_array_equal(info["distortion"], distances)
    found = [twins.nearest_in_order(sample, codes) for sample in x[0]]
    np.testing.assert_array_equal(nearest(x[0], codes)[0], [k for k, _ in found])
    rule = rules.VQ(0.3)
    close_to = 100 * np.finfo(dtype).eps  # of at most 64 sums of numbers of order one
    after, _ = rule.advance(rule.init(codes), Batches(x))
    np.testing.assert_allclose(after.codes, twins.vq(codes, x[0], dtype(0.3), np.ones(64, dtype)), rtol=0, atol=close_to)
    ema, _ = rules.EMA(0.8).advance(rules.EMA(0.8).init(codes), Batches(x))
    published, _, _ = twins.ema(codes, np.ones(65, dtype), codes, x[0], dtype(0.8), 0)
    np.testing.assert_allclose(ema.codes, published, rtol=0, atol=close_to)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is the run without compilation")
def test_twins_hold_without_compilation():
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
