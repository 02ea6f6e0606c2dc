"""Claims on the collapse law in one dimension: the quick ones hold, and laws that are wrong do not."""

from dataclasses import replace

import numpy as np
import pytest

from vqtheory.claims import Limit, Range, all_claims
from vqtheory.claims.laws import collapse, transients
from vqtheory.streams import Scaling, Stream, Translation, Uniform

CHEAP = [
    "threshold-of-two",
    "threshold-of-many",
    "survivors-uniform",
    "survivors-exponential",
    "survivors-quadratic",
    "shrink-survivors",
    "growth-kills-none",
    "growth-crowds",
    "jump-survivors",
]


@pytest.mark.parametrize("key", CHEAP)
def test_holds(key):
    verdict = all_claims()[key].verify(seed=7)
    assert verdict.outcome == "holds", verdict


def test_living_codes_are_counted_by_the_mass_of_their_cells():
    """The cell [0, b] of the first of three codes has the mass 1/600 at b = 1/600, one hit in 200 K latents."""
    still, moved = Stream(Uniform(dim=1)), Stream(Uniform(dim=1), Translation(0.5) + Scaling(-0.1, limit=0.5))
    for border, count in ((0.0016, 2), (0.0018, 3)):
        codes = np.array([[0.5], [2 * border - 0.5], [0.7]])
        assert collapse.count_alive(still, codes, 0) == count
        assert collapse.count_alive(moved, 0.5 + 0.5 * (codes - 0.5) + 10, 20) == count


def test_a_law_with_twice_the_critical_speed_is_refuted(monkeypatch):
    doubled = collapse.surviving_codes
    monkeypatch.setattr(
        collapse, "surviving_codes", lambda speed, step_size, **options: doubled(speed / 2, step_size, **options)
    )
    assert all_claims()["survivors-quadratic"].verify(seed=7).outcome == "refuted"


def test_the_share_of_the_noise_is_that_of_the_law_and_not_none():
    shares = [collapse.noise_share(2, 0.05, 1, seed) for seed in (10, 20, 30)]
    assert np.mean(shares) == pytest.approx(collapse.noisy_share(2, 0.05, 1), rel=0.25)  # the law's stated accuracy
    assert min(shares) > 0.05


def test_without_the_noise_the_thresholds_do_not_extrapolate_to_one_along_a_line_in_the_step_size(monkeypatch):
    """A correction of order eta would not do: the same runs against the law without noise."""
    monkeypatch.setattr(collapse, "noisy_share", lambda *of: 0.0)
    monkeypatch.setattr(collapse, "chains", lambda effort, seed, quick, full: [(2, seed + 10 * i) for i in range(8)])
    claim = all_claims()["threshold-with-noise"]
    assert claim.kind == Limit("step size", order=1)
    assert claim.verify(seed=7).outcome == "refuted"


@pytest.mark.parametrize(
    ("key", "false"),
    [
        ("shrink-survivors", Range(2.0, 4.0)),
        ("growth-crowds", Range(1.25, 2.0)),  # no crowding at all would be 32 codes in place of 25 and 16
    ],
)
def test_a_false_prediction_is_refuted(key, false):
    assert replace(all_claims()[key], predict=false).verify(seed=7).outcome == "refuted"


def test_the_runs_that_show_hysteresis_refute_that_there_is_none():
    surplus = transients.left_of_plain.experiment("quick", 7)
    claim = replace(transients.left_of_plain, experiment=lambda effort, seed: surplus)
    assert claim.verify().outcome == "holds"
    assert replace(claim, predict=Range(6.0, 11.0)).verify().outcome == "refuted"  # all 16 codes back
