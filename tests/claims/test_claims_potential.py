"""The law of the potential against runs: small ones that hold, and laws that are wrong and do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import mobilities, potential
from vqtheory.claims.laws.potential import Case
from vqtheory.streams import Stream
from vqtheory.theory._ball import MEASURED_SHARE

FEW = {
    dim: [Case("uniform", dim, "translation", 2e-3), Case("Gaussian", dim, "translation and growth", 2e-3)] for dim in (2, 3)
}


@pytest.mark.parametrize("dim", FEW)
def test_the_law_holds_and_one_of_another_exponent_is_refuted(dim, monkeypatch):
    monkeypatch.setattr(potential, "cases_of", lambda dim, effort: FEW[dim])
    claim = all_claims()[f"potential-{dim}d"]
    assert claim.verify().outcome == "holds"
    assert replace(claim, experiment=lambda *asked: np.multiply(claim.experiment(*asked), 1.4)).verify().outcome == "refuted"


def test_a_drift_that_is_steady_in_the_cloud_s_own_frame():
    """Shift and width grow alike, so that their ratio tends to speed over growth."""
    drift = potential.Steady((1e-3, 0.0), 1e-3)
    motion = drift.motion(0, 5, dim=2, seed=0)
    assert np.diff(motion.shift[:, 0]) == pytest.approx(1e-3 * motion.factor[:-1] * np.expm1(1e-3) / 1e-3)
    source = potential.Skewed(2)
    moved = Stream(source, drift).at(100).sample(4000)
    assert moved.mean(axis=0) == pytest.approx(source.mean + np.array([np.expm1(0.1), 0]), abs=0.02)


def test_ema_and_adam_hold_to_fifteen_percent():
    assert 0.85 < mobilities.codes_left("ema", "ball", 2, 30, seed=100) / 30 < 1.15
    assert 0.85 < mobilities.codes_left("adam", "diagonal", 2, 60, seed=100) / 60 < 1.15


@pytest.mark.parametrize(("rule", "dim"), [("ema", 3), ("adam", 2), ("adam", 3)])
def test_the_share_that_predict_quotes_is_the_share_that_is_measured(rule, dim):
    low, high = all_claims()[f"{rule}-ball-{dim}d"].predict
    assert (low, high) == MEASURED_SHARE[rule][dim]
    num_codes = mobilities.NUMBERS[rule][0]
    page = (Path(__file__).parents[2] / "docs" / "law.md").read_text("utf-8")
    assert dim == 2 or f"{low} to {high}" in page
    assert low < mobilities.codes_left(rule, "ball", dim, num_codes, seed=100) / num_codes < high
