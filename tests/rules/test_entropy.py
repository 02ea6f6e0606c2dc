"""The entropy loss: the rule is its gradient, and it does what the loss says."""

import numpy as np
import pytest
from scipy.special import log_softmax, xlogy

from vqtheory import Batches
from vqtheory.rules import VQ, EntropyVQ

RULE = EntropyVQ(1e-3, strength=0.7, temperature=2.0, balance=0.6)
X, CODES = np.random.default_rng(0).normal(size=(1, 30, 2)), np.random.default_rng(1).normal(size=(6, 2))


def test_codes_descend_the_loss():
    """By central differences, e and tau held where they are."""
    own = ((X[0][:, None] - CODES) ** 2).sum(axis=2).min(axis=1).mean()

    def loss(codes):
        squared = ((X[0][:, None] - codes) ** 2).sum(axis=2)
        logs = log_softmax(-squared / (RULE.temperature * own), axis=1)
        each, used = -(np.exp(logs) * logs).sum(axis=1).mean(), np.exp(logs).mean(axis=0)
        return squared.min(axis=1).mean() / 2 + RULE.strength * own * (each + RULE.balance * xlogy(used, used).sum())

    state, _ = RULE.advance(RULE.init(CODES), Batches(X))
    for k, d in np.ndindex(*CODES.shape):
        aside = np.zeros_like(CODES)
        aside[k, d] = 1e-6
        slope = (loss(CODES + aside) - loss(CODES - aside)) / 2e-6
        assert (state.codes - CODES)[k, d] == pytest.approx(-1e-3 * slope, rel=1e-5, abs=1e-12)


def test_a_code_within_reach_comes_to_life_and_one_beyond_stays():
    x, codes = np.random.default_rng(2).uniform(-1, 1, (400, 32, 1)), np.array([[0.0], [2.5], [1000.0]])
    rule = EntropyVQ(0.2, strength=0.5, temperature=3.0)
    state, info = rule.advance(rule.init(codes), Batches(x))
    assert info["hits"][1] > 100
    assert state.codes[2] == 1000.0
    assert VQ(0.2).advance(VQ(0.2).init(codes), Batches(x))[1]["hits"][1] == 0
