"""The softmaxes of IBQ and HyperVQ: their theory has its limits, and would fail for another rule."""

import numpy as np
import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import softmax
from vqtheory.claims.table import table
from vqtheory.rules import IBQ
from vqtheory.theory import soft_path


def test_the_claim_of_idempotence_is_not_refuted():
    verdict = all_claims()["hypervq-idempotence"].verify("quick", seed=1)
    assert verdict.outcome != "refuted", table([verdict])


def test_by_the_distance_all_codes_win_themselves(monkeypatch):
    monkeypatch.setattr(softmax, "IBQ", lambda **options: IBQ(similarity="l2", **options))
    assert all_claims()["ibq-codes-that-win-themselves"].verify("quick", seed=1).outcome == "refuted"


def test_one_codebook_of_the_published_start_is_near_the_mean_over_all():
    """Entropy and gain of 100 latents within 15 %: the longest codes are shared by all latents."""
    entropy, gain = softmax.at_the_start(32, 100, seed=3)
    path = soft_path(softmax.CODES, 32)
    assert entropy == pytest.approx(np.log(path.effective_codes), rel=0.15)
    assert gain == pytest.approx(path.gain, rel=0.15)


def test_limits_of_the_softmax():
    """All codes for a large temperature, one for a small one, and nothing to choose of one code."""
    open_, closed = soft_path(64, 4, 1e3), soft_path(64, 4, 1e-3)
    assert open_.effective_codes == pytest.approx(64, rel=1e-4)
    assert open_.gain == pytest.approx(1e-3, rel=0.02)  # (1 - 1/K) / T
    assert closed.effective_codes == pytest.approx(1, abs=0.01)
    assert soft_path(1, 4) == pytest.approx((1, 0, 1), abs=1e-9)
    for temperature in (1e-8, 1e-12, 1e-30, 5e-324):  # the entropy falls as T, and the gain does not
        frozen = soft_path(2**40, 4, temperature)
        assert np.log(frozen.effective_codes) == pytest.approx(7.3455 * temperature, rel=1e-3, abs=1e-15)
        assert frozen.gain == pytest.approx(soft_path(2**40, 4, 1e-4).gain, rel=1e-6)
