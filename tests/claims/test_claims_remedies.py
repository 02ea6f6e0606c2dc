"""Remedies: their claims hold, and would not without them."""

import numpy as np
import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import remedies
from vqtheory.claims.table import table
from vqtheory.rules import VQ


@pytest.mark.parametrize("key", [claim.key for claim in remedies.CLAIMS])
def test_the_claims_hold(key):
    verdict = all_claims()[key].verify("quick", seed=1)
    assert verdict.outcome == "holds", table([verdict])


def test_without_them_they_do_not(monkeypatch):
    monkeypatch.setattr(remedies, "Affine", lambda rule, per, decay: rule)
    monkeypatch.setattr(remedies, "Sinkhorn", lambda **options: VQ(options["step_size"]))
    keys = ("affine-translation-and-growth", "affine-other-shape", "sinkhorn-usage", "sinkhorn-distortion")
    assert {all_claims()[key].verify("quick", seed=1).outcome for key in keys} == {"refuted"}


def test_the_bound_of_expiry_is_that_of_its_threshold():
    """Of 32 codes and 48 latents: at h = 0.75 nearly all stay, and at h = 2 at most 24."""
    settled, churning = (np.mean(32 - remedies.replaced(32, 48, h, 0.9, 40, seed=0)[20:]) for h in (0.75, 2.0))
    assert settled > 28
    assert churning <= 24
