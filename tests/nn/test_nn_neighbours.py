"""The classic rules in the layer: grids and schedules, evaluation by distance alone, passes that are repeated."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

from vqtheory import Batches  # noqa: E402
from vqtheory.assign import nearest  # noqa: E402
from vqtheory.nn import VectorQuantize, step_size  # noqa: E402
from vqtheory.nn.ops.ranks import ranks  # noqa: E402
from vqtheory.rules import FSCL, SOM, Conscience, NeuralGas  # noqa: E402
from vqtheory.schedules import exponential  # noqa: E402


@pytest.mark.parametrize(
    "rule",
    [
        SOM(0.3, 1.5, grid=(3, 4)),
        SOM(0.3, exponential(3.0, 1), grid=(4, 3), neighbourhood="bubble"),
        NeuralGas(0.3, exponential(4.0, 1)),
        Conscience(0.3, exponential(2.0, 1), decay=0.5),
    ],
    ids=repr,
)
def test_grids_and_schedules_are_those_of_the_simulator(rule):
    random = np.random.default_rng(0)
    codes, x = random.normal(size=(12, 3)), random.normal(size=(4, 20, 3))
    layer = VectorQuantize(3, 12, rule, commitment_weight=0.0).double()
    layer._codebook.load(rule.init(codes))
    optimizer = torch.optim.SGD(layer.codebook_parameters(), lr=step_size(eta=0.3, dim=3))
    for batch in x:
        optimizer.zero_grad()
        layer(torch.tensor(batch[None])).loss.backward()
        optimizer.step()
    expected, _ = rule.advance(rule.init(codes), Batches(x))
    np.testing.assert_allclose(layer.codebook.numpy(), expected.codes, rtol=0, atol=1e-12)


def test_a_grid_that_is_no_such_rectangle_is_refused():
    with pytest.raises(ValueError, match=r"grid of SOM, \(2, 3\), needs 2 x 3 = 6 codes. Got 8"):
        VectorQuantize(4, 8, SOM(grid=(2, 3)))


def test_ranks_count_what_is_less():
    scores = torch.tensor([[3.0, 1.0], [1.0, 1.0], [3.0, 0.0], [2.0, 5.0]])
    assert ranks(scores).T.tolist() == [[2, 0, 2, 1], [1, 1, 0, 3]]


@pytest.mark.parametrize("rule", [FSCL(), Conscience(bias=3.0)], ids=repr)
def test_wins_count_in_training_alone_and_a_repeated_pass_does_not_see_its_own(rule):
    """In evaluation the nearest code; with activation checkpointing the gradients without it."""
    z = torch.randn(1, 40, 2, generator=torch.Generator().manual_seed(0))
    layer = VectorQuantize(2, 8, rule)
    layer.initialize(z[0])
    for _ in range(3):
        indices = layer(z).indices
    codes = layer.codebook.numpy()
    assert indices[0].tolist() != nearest(z[0].numpy(), codes)[0].tolist()
    again = copy.deepcopy(layer)
    layer(z).loss.backward()
    checkpoint(lambda latents: again(latents).loss, z.clone().requires_grad_(), use_reentrant=False).backward()
    assert torch.equal(layer._codebook.weight.grad, again._codebook.weight.grad)
    assert torch.equal(layer._codebook.won, again._codebook.won)
    assert layer.eval()(z).indices[0].tolist() == nearest(z[0].numpy(), codes)[0].tolist()
