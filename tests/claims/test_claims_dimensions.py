"""The collapse law in D dimensions: its arithmetic, a claim that holds and a wrong one that does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import dimensions
from vqtheory.claims.table import table
from vqtheory.theory import surviving_codes
from vqtheory.theory._cube import MEASURED_SHARE


@pytest.mark.parametrize("dim", [2, 3, 4, 8])
def test_the_plain_law_is_that_of_the_theory(dim):
    lag = np.array([1e-2, 1e-4, 1e-6])
    law = [int(dimensions.plain_law(dim, a) + 1e-9) for a in lag]
    assert law == surviving_codes(0.1 * lag, 0.1, dim=dim).tolist()


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_the_share_that_the_trailing_face_takes_falls_with_its_derived_exponent(dim):
    """1 - n / n_0 ~ n_0^(-2 / (D (D+1))), once the offset is small."""
    lag = np.array([1e-12, 1e-14]) ** (dim + 1)
    plain = np.array([dimensions.plain_law(dim, a) for a in lag])
    lost = 1 - np.array([dimensions.law_with_offset(dim, a) for a in lag]) / plain
    assert np.diff(np.log(lost)) / np.diff(np.log(plain)) == pytest.approx(-2 / (dim * (dim + 1)), rel=1e-2)


def test_codes_left_by_a_drift_all_win_and_are_as_many_whatever_the_start(monkeypatch):
    codes = dimensions.settled(3, 27, seed=0)
    samples = np.random.default_rng(0).random((20_000, 3))
    assert set(dimensions.nearest(samples, codes)[0]) == set(range(len(codes)))
    monkeypatch.setattr(dimensions, "EXCESS", 10)
    assert len(dimensions.settled.__wrapped__(3, 27, 0)) == pytest.approx(len(codes), abs=2)


@pytest.mark.parametrize("dim", MEASURED_SHARE)
def test_the_share_that_predict_quotes_is_the_share_that_is_measured(dim, monkeypatch):
    monkeypatch.setattr(dimensions, "sizes_of", lambda dim, effort: [27, 41])
    monkeypatch.setattr(dimensions, "REPLICATES", 2)
    low, high = all_claims()[f"cube-share-{dim}d"].predict
    assert (low, high) == MEASURED_SHARE[dim]
    assert low < np.mean(dimensions.over(dimensions.plain_law, dim, "quick", seed=100)) < high


def test_a_page_quotes_the_same_shares():
    page = Path(__file__).parents[2] / "docs/your_model.md"
    assert f"keep {MEASURED_SHARE[3][0]} to {MEASURED_SHARE[2][1]} of its survivors" in page.read_text("utf-8")


@pytest.mark.parametrize(
    "key",
    [
        "cube-exponent-1d",
        "cube-survivors-1d",
        "cube-exponent-4d",
        "cube-survivors-4d",
        "cube-share-4d",
        "two-codes-any-dimension",
    ],
)
def test_claims_hold(key):
    verdict = all_claims()[key].verify("quick", seed=1)
    assert verdict.outcome == "holds", table([verdict])


def test_a_wrong_exponent_is_refuted_by_the_same_runs():
    right = all_claims()["cube-exponent-4d"]
    for wrong in (-0.5, -0.8):
        assert replace(right, predict=wrong).verify("quick", seed=1).outcome == "refuted"
