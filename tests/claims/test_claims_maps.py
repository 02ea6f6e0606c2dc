"""Claims on map rules and on the straight-through variant: experiments on a small scale, and verdicts that can fail."""

from dataclasses import replace

import numpy as np
import pytest

from vqtheory.claims import Range, all_claims
from vqtheory.claims.laws import maps_preserve as preserve
from vqtheory.claims.laws import maps_runaway as runaway
from vqtheory.claims.laws import maps_shift as shift
from vqtheory.claims.laws import straight_through as variant
from vqtheory.rules import SimVQ, TransVQ

CHEAP = [
    "transvq-full-rank",
    "transvq-needs-width",
    "transvq-needs-positions",
    "simvq-rank",
    "simvq-rests",
    "simvq-rests-off-k-means",
    "shared-shift-threshold",
    "rigid-usage",
    "simvq-runs-away",
    "bridge-first-step",
    "bridge-one-slot-at-a-time",
    "bridge-waking-time",
    "bridge-head-rank",
    "bridge-residual-kernel",
    "straight-through-chases",
    "straight-through-forward",
]


@pytest.mark.parametrize("key", CHEAP)
def test_holds(key):
    assert all_claims()[key].verify(seed=7).outcome == "holds"


@pytest.mark.parametrize(
    ("key", "false"),
    [
        ("transvq-needs-width", Range(1e-6, 1.0)),
        ("simvq-rank", Range(2.0, 2.0)),
        ("simvq-rests-off-k-means", Range(0.0, 1e-6)),
        ("shared-shift-threshold", Range(1.2, 1.3)),
        ("simvq-runs-away", Range(0.9, 1.0)),
        ("bridge-one-slot-at-a-time", Range(2.0, 16.0)),
        ("bridge-residual-kernel", Range(0.0, 0.9)),
        ("straight-through-forward", Range(1e3, 1e6)),
    ],
)
def test_a_false_prediction_is_refuted(key, false):
    assert replace(all_claims()[key], predict=false).verify(seed=7).outcome == "refuted"


def test_a_plain_step_does_not_have_the_threshold_of_a_shared_one():
    """The experiment itself must fail where the law is wrong: without the shared shift the codes die."""
    lag = 0.9 * shift.critical_lag(3, beta=1.0)
    assert shift.all_live(3, 1.0, lag)
    assert not shift.all_live(3, 0.0, lag)


def test_pull_of_the_uniform_distribution_is_the_pull_of_a_sample():
    codes, x = np.array([-0.1, 0.2, 0.3, 0.9]), (np.arange(100_000) + 0.5) / 100_000
    nearest = np.abs(x[:, None] - codes).argmin(axis=1)
    mass, gradient = shift.pull(codes)
    np.testing.assert_allclose(mass, np.bincount(nearest, minlength=4) / len(x), atol=1e-4)
    expected = [np.sum((codes[k] - x)[nearest == k]) / len(x) for k in range(4)]
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_pull_of_the_normal_distribution_is_the_pull_of_a_sample():
    codes = np.array([0.4, -1.0, 2.0])
    x = np.random.default_rng(0).normal(size=200_000)
    nearest = np.abs(x[:, None] - codes).argmin(axis=1)
    expected = [np.sum((codes[k] - x)[nearest == k]) / len(x) for k in range(3)]
    np.testing.assert_allclose(runaway.normal_pull(codes), expected, atol=5e-3)


def test_survivors_without_a_shared_shift_are_the_law_s():
    lag = np.sqrt(shift.critical_lag(3, 0.0) * shift.critical_lag(4, 0.0))
    assert shift.used(6, 0.0, lag, seed=0) == 3


def test_a_ride_reports_a_diverged_run_as_no_code_used():
    *_, (state, share) = runaway.ride(SimVQ(50.0), 2, 8, 1.0, [5.0, 2000.0], seed=0, batch_size=8)
    assert not np.isfinite(state.codes).all()
    assert share == 0


def test_transvq_moves_off_no_k_means_solution():
    """From rest, more updates change nothing but the last bits."""
    end = preserve.rest(TransVQ(0.1, width=32, optimizer="sgd"), 4000, seed=1)
    assert np.abs(end.gradient).max() < 1e-15
    assert (end.cells.hits > 0).all()
    assert end.state.step == 4000


def test_slopes_see_the_decoder():
    """The gradient of the loss differs from that of the codebook loss alone."""
    latents, codes, decoder = variant.problem(20, 3, seed=0)
    slopes = variant.slopes(latents, codes, decoder)
    alone = variant.straight_through_gradient(latents, codes, np.zeros_like(latents), alpha=variant.ALPHA)
    assert np.abs(slopes - alone).max() > 1e-4
