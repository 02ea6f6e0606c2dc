"""Transport: its claims hold, and would not of other laws or without it."""

from dataclasses import replace

import numpy as np
import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import transport
from vqtheory.claims.table import table
from vqtheory.rules import VQ
from vqtheory.theory import shrink_surviving_codes


@pytest.mark.parametrize("key", [claim.key for claim in transport.CLAIMS])
def test_the_claims_hold(key):
    verdict = all_claims()[key].verify("quick", seed=1)
    assert verdict.outcome == "holds", table([verdict])


def outcome(key):
    return all_claims()[key].verify("quick", seed=1).outcome


def test_without_transport_they_do_not(monkeypatch):
    monkeypatch.setattr(transport, "Transport", lambda rule, neighbours=1: rule)
    for key in ("transport-of-the-toy", "transport-translation"):
        assert outcome(key) == "refuted"


def test_another_error_s_law_is_refuted(monkeypatch):
    """Over the law of plain VQ; and an error that does not fall with the samples."""
    over_plain = 20 / shrink_surviving_codes(1e-3, 1.0)
    claim = replace(all_claims()["transport-survivors"], experiment=lambda effort, seed: [over_plain])
    assert claim.verify().outcome == "refuted"
    monkeypatch.setattr(transport, "TINY", VQ(1e-15))
    assert outcome("transport-error") == "refuted"


def test_the_potential_is_the_integral_of_the_mean_error():
    """Of the nearest of 8 uniform samples to a code, by drawing them."""
    batch_size, u = 8, 0.04
    samples = np.random.default_rng(0).random((400_000, batch_size))
    nearest = np.take_along_axis(samples, np.abs(samples - u).argmin(axis=1)[:, None], axis=1)
    law = u * (1 - 2 * u) ** batch_size + (1 - 2 * u) ** (batch_size + 1) / (batch_size + 1)
    assert (nearest - u).mean() == pytest.approx(law, abs=5 * nearest.std() / 400_000**0.5)
