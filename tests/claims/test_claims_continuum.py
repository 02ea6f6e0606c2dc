"""Claims on drifts that change: a short form of them holds, and laws that are wrong do not."""

import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import continuum
from vqtheory.claims.table import table


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "holds"), (2.0, "refuted")])
def test_the_law_of_a_drift_that_fades_holds_and_another_step_size_does_not(factor, outcome, monkeypatch):
    law = continuum.transient_codes
    monkeypatch.setattr(continuum, "transient_codes", lambda codes, eta, **options: law(codes, factor * eta, **options))
    monkeypatch.setattr(continuum, "DRIFTS", continuum.DRIFTS[1:2])
    monkeypatch.setattr(continuum, "STEPS", 15_000)
    verdict = all_claims()["changing-drift-1d"].verify("quick", seed=1)
    assert verdict.outcome == outcome, table([verdict])


@pytest.mark.parametrize(("dim", "outcome"), [(2, "holds"), (3, "refuted")])
def test_the_law_of_a_disk_holds_and_that_of_a_ball_does_not(dim, outcome, monkeypatch):
    law = continuum.transient_codes
    monkeypatch.setattr(continuum, "transient_codes", lambda *codes, **options: law(*codes, **(options | {"dim": dim})))
    monkeypatch.setattr(continuum, "BALL_TIMES", (8000, 10_000))
    verdict = all_claims()["changing-drift-2d"].verify("quick", seed=1)
    assert verdict.outcome == outcome, table([verdict])


@pytest.mark.parametrize(("factor", "outcome"), [(1, "holds"), (30, "refuted")])
def test_what_rests_keeps_the_survivors_of_the_fastest_stretch_and_not_those_of_a_slower_one(factor, outcome, monkeypatch):
    law = continuum.surviving_codes
    monkeypatch.setattr(continuum, "surviving_codes", lambda speed, *codes, **cloud: law(speed / factor, *codes, **cloud))
    monkeypatch.setattr(continuum, "DENSITIES", continuum.DENSITIES[:1])
    assert all_claims()["rest-keeps-survivors"].verify("quick", seed=1).outcome == outcome
