"""Claims of codebooks in the hands of an optimizer, and that a wrong law would be refuted."""

import pytest

from vqtheory.claims import Range, all_claims
from vqtheory.claims.laws import trained
from vqtheory.claims.statement import judge


@pytest.mark.parametrize("key", ["momentum-threshold", "weight-decay-is-a-drift"])
def test_holds(key):
    assert all_claims()[key].verify("quick", seed=1).outcome == "holds"


def test_adam_s_law_holds_and_that_of_sgd_is_refuted(monkeypatch):
    """K = 4, N = 64 at a learning rate of a hundredth of a cell over the law of plain VQ."""
    low, high = trained.adam_threshold(4, 64, seed=0)
    assert judge(Range(0.9, 1.1), (low, high)) == "holds"
    monkeypatch.setattr(trained, "adam_critical_speed", lambda K, rate, batch_size: 2 * rate * batch_size**0.5 / K**1.5)
    assert judge(Range(0.9, 1.1), tuple(trained.adam_threshold(4, 64, seed=0))) == "refuted"


def test_adam_s_effective_step_holds_and_one_that_does_not_know_the_mass_is_refuted(monkeypatch):
    claim = all_claims()["adam-effective-step"]
    assert claim.verify("quick", seed=1).outcome == "holds"
    monkeypatch.setattr(trained, "adam_effective_step", lambda rate, mass, spread, size: rate / spread * size**0.5)
    assert claim.verify("quick", seed=1).outcome == "refuted"


def test_without_decay_no_code_is_lost(monkeypatch):
    """The excess of a run whose decay is not the one that the law assumes."""
    monkeypatch.setattr(trained, "weight_decay_speed", lambda *arguments: 1e9)
    assert trained.decay_excess(8, 8.0, seed=0) >= 3


@pytest.mark.parametrize(("cells", "low", "high"), [(0.003, 0.82, 0.95), (0.02, 0.6, 0.9)])
def test_longer_steps_lose_codes_below_adam_s_law(cells, low, high):
    """As the docstring of `adam_critical_speed` says, widened by the bracket's half width of 0.0125."""
    for pair in ((8, 256), (16, 256)):
        ratio = sum(trained.adam_threshold(*pair, seed=0, cells=cells)) / 2
        assert low < ratio < high
