"""What brings codes back: cheap claims hold, and are refuted with another rule than the one that they name."""

import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import revival
from vqtheory.claims.table import table
from vqtheory.rules import CVQ, VQ, NeuralGas

OTHERS = {  # in place of the claim's own rule; conscience-evens-usage takes seconds
    "cvq-revives-by-its-share": ("CVQ", lambda rate, decay: CVQ(rate, decay=decay**0.999)),
    "neural-gas-recovers-from-any-jump": ("NeuralGas", lambda rate, reach: VQ(rate)),
    "vq-does-not-recover-from-a-jump": ("VQ", lambda rate: NeuralGas(rate, 4.0)),
}


@pytest.mark.parametrize("key", OTHERS)
def test_it_holds_and_not_for_another_rule(key, monkeypatch):
    verdict = all_claims()[key].verify("quick", seed=1)
    assert verdict.outcome == "holds", table([verdict])
    monkeypatch.setattr(revival, *OTHERS[key])
    assert all_claims()[key].verify("quick", seed=1).outcome == "refuted"
