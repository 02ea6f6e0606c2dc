"""Codes drawn to the latents' moments, beside what the table of all rules asks of it."""

import numpy as np
import pytest

from vqtheory import Batches
from vqtheory.rules import VQ, Affine, Reestimate, Wasserstein
from vqtheory.rules.framed import transport_map

STILL = VQ(1e-300)
RANDOM = np.random.default_rng(0)
CLOUD = RANDOM.normal(size=(1, 400, 3)) @ RANDOM.normal(size=(3, 3)) + [5.0, 0.0, -2.0]


def moments(points):
    return points.mean(axis=0), np.cov(points.T, bias=True)


def test_a_whole_pull_makes_the_moments_the_same():
    codes = 10 * np.random.default_rng(1).normal(size=(9, 3))
    rule = Wasserstein(STILL, pull=1.0, decay=0.0)
    state, _ = rule.advance(rule.init(codes), Batches(CLOUD.repeat(2, axis=0)))
    for own, wanted in zip(moments(state.codes), moments(CLOUD[0]), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-10)


def test_the_pull_is_the_gradient_of_the_squared_distance():
    """W^2 of two Gaussians by its closed form, by finite differences: c_k - image is K / 2 times it."""

    def squared(codes):
        (mean, own), (other, wanted) = moments(codes), moments(CLOUD[0])
        cross = np.trace(own @ transport_map(own, wanted))  # tr (V_c^1/2 V V_c^1/2)^1/2
        return np.sum((mean - other) ** 2) + np.trace(own) + np.trace(wanted) - 2 * cross

    codes, step = np.random.default_rng(1).normal(size=(9, 3)), 1e-6
    rule = Wasserstein(STILL, pull=0.1, decay=0.0)
    state, _ = rule.advance(rule.init(codes), Batches(CLOUD.repeat(2, axis=0)))
    for k, d in ((0, 0), (4, 2), (8, 1)):
        aside = np.zeros_like(codes)
        aside[k, d] = step
        slope = (squared(codes + aside) - squared(codes - aside)) / (2 * step)
        assert state.codes[k, d] - codes[k, d] == pytest.approx(-0.1 * len(codes) / 2 * slope, rel=1e-6)


def test_fewer_codes_than_dimensions_and_codes_at_one_point_stay_finite():
    for codes in (np.eye(3)[:1], np.eye(3)[:2], np.zeros((5, 3))):
        rule = Wasserstein(STILL, pull=1.0, decay=0.0)
        state, _ = rule.advance(rule.init(codes), Batches(CLOUD.repeat(3, axis=0)))
        np.testing.assert_allclose(state.codes.mean(axis=0), CLOUD[0].mean(axis=0), rtol=1e-9)


def test_a_frame_within_a_frame_is_refused():
    for call in (lambda: Wasserstein(Affine(VQ())), lambda: Affine(Reestimate(Wasserstein(VQ())))):
        with pytest.raises(ValueError, match="must be one without (Affine|Wasserstein) in it"):
            call()
    with pytest.raises(ValueError, match="'pull' parameter of Wasserstein must be a number > 0 and <= 1. Got 2"):
        Wasserstein(VQ(), pull=2)
