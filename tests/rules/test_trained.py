"""The codebook under an optimizer, beside torch's own."""

import numpy as np
import pytest

from vqtheory import Batches
from vqtheory.assign import nearest
from vqtheory.rules import VQ, TrainedVQ

CODES = np.random.default_rng(0).normal(size=(6, 3))
X = np.random.default_rng(1).normal(size=(40, 5, 3))
MADE = {  # the rule, and torch's optimizer with the same meaning
    "adam": (TrainedVQ(0.01), lambda torch, p: torch.optim.Adam(p, lr=0.01)),
    "adamw": (TrainedVQ(0.01, weight_decay=0.5), lambda torch, p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.5)),
    "sgd": (TrainedVQ(0.3, "sgd", momentum=0.7), lambda torch, p: torch.optim.SGD(p, lr=0.3, momentum=0.7)),
    "decay": (TrainedVQ(0.3, "sgd", weight_decay=0.1), lambda torch, p: torch.optim.SGD(p, lr=0.3, weight_decay=0.1)),
}


def advanced(rule):
    return rule.advance(rule.init(CODES), Batches(X))[0].codes


@pytest.mark.parametrize("name", MADE)
def test_torch_moves_the_codes_alike(name):
    torch = pytest.importorskip("torch")
    rule, make = MADE[name]
    codes = torch.tensor(CODES, requires_grad=True)
    optimizer = make(torch, [codes])
    for batch in X:
        assignment, _ = nearest(batch, codes.detach().numpy())
        optimizer.zero_grad()
        (torch.tensor(batch) - codes[torch.tensor(assignment)]).square().sum(dim=1).mean().div(2).backward()
        optimizer.step()
    np.testing.assert_allclose(advanced(rule), codes.detach().numpy(), rtol=0, atol=1e-12)


def test_sgd_without_momentum_is_vq():
    np.testing.assert_allclose(advanced(TrainedVQ(0.3, "sgd")), advanced(VQ(0.3)), rtol=0, atol=1e-14)


def test_momentum_makes_the_step_longer():
    """Far from its only latent a lone code closes in at eta / (1 - mu) per update, for small eta."""
    x = np.ones((2000, 1, 1))
    for momentum in (0.5, 0.9):
        rule = TrainedVQ(1e-3 * (1 - momentum), "sgd", momentum=momentum)
        after, _ = rule.advance(rule.init(np.zeros((1, 1))), Batches(x))
        assert np.log1p(-after.codes[0, 0]) == pytest.approx(-2.0, rel=0.01)


def test_a_code_that_was_dropped_moves_on_for_some_updates():
    rule = TrainedVQ(0.01)
    state, _ = rule.advance(rule.init(np.array([[0.0], [3.0]])), Batches(np.full((5, 1, 1), 2.0)))
    state, _ = rule.advance(state, Batches(np.full((1, 1, 1), -5.0)))
    start = state.codes[1, 0]
    state, info = rule.advance(state, Batches(np.full((30, 1, 1), -5.0)))
    assert info["hits"][1] == 0
    assert 0.02 < start - state.codes[1, 0] < 0.15
