"""Balanced cells in the layer, beside what the table of all rules asks of it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

from vqtheory import Batches  # noqa: E402
from vqtheory.nn import VectorQuantize  # noqa: E402
from vqtheory.nn.ops.balance import balance  # noqa: E402
from vqtheory.nn.ops.search import assign  # noqa: E402
from vqtheory.rules import Sinkhorn  # noqa: E402

BALANCED = Sinkhorn(rounds=300, tolerance=0.01)


def latents(seed=0):
    return torch.randn(1, 64, 2, generator=torch.Generator().manual_seed(seed))


def layer(rule=BALANCED):
    """Of 8 codes one is among the latents."""
    made = VectorQuantize(2, 8, rule)
    made.set_codebook(torch.tensor([[0.0, 0.0]] + [[9.0, 9.0 + k] for k in range(7)]))
    return made


def test_training_gives_equal_shares_and_evaluation_the_nearest_code():
    model, z = layer(), latents()
    hits = model(z).info.hits
    assert model._codebook.imbalance <= 0.01
    assert hits.min() >= 6
    assert hits.max() <= 10
    output = model.eval()(z)
    assert output.info.hits.tolist() == [64, 0, 0, 0, 0, 0, 0, 0]
    assert torch.equal(output.indices[0], assign(z[0], model.codebook))


def test_a_pass_that_is_run_again_has_the_prices_that_it_began_with():
    plain, again = layer(), layer()
    for seed in range(2):
        z = latents(seed)
        for model, call in ((plain, plain), (again, lambda z: checkpoint(again, z, use_reentrant=False))):
            model.zero_grad()
            call(z.clone().requires_grad_()).loss.backward()
        torch.testing.assert_close(again.codebook_parameters()[0].grad, plain.codebook_parameters()[0].grad)
        assert torch.equal(again._codebook.prices, plain._codebook.prices)


def test_held_codes_hold_their_prices_and_placed_codes_lose_them():
    model = layer().requires_grad_(False)
    model(latents())
    assert not model._codebook.prices.any()
    model.requires_grad_(True)
    model(latents())
    assert model._codebook.prices.all()
    with torch.no_grad():
        model._codebook.place(torch.tensor([2]), torch.zeros(1, 2))
    assert (model._codebook.prices == 0).nonzero().ravel().tolist() == [2]


@pytest.mark.parametrize("compiles", [False, True])
def test_a_batch_that_is_not_balanced_is_said_with_how_far(compiles):
    torch.compiler.reset()
    model = layer(Sinkhorn(rounds=1))
    call = torch.compile(model, backend="eager", fullgraph=True) if compiles else model
    with pytest.warns(UserWarning, match="Sinkhorn has not balanced a batch in 1 rounds") as warned:
        call(latents())
    sentences = [str(warning.message) for warning in warned if "Sinkhorn" in str(warning.message)]
    assert len(sentences) == 1
    imbalance = float(model._codebook.imbalance)
    assert imbalance > 0.1
    assert f"differs from 1 / K by {imbalance:.1g} times as much, and the tolerance is 0.1." in sentences[0]


def test_latents_that_are_not_kept_count_nowhere():
    z, codes, keep = latents()[0], torch.randn(8, 2, generator=torch.Generator().manual_seed(1)), torch.arange(64) < 40
    options = (codes, torch.zeros(8), 1.0, 50, 0.01)
    masked, alone = balance(z, keep, *options), balance(z[:40], keep[:40], *options)
    assert torch.equal(masked[0][:40], alone[0])
    torch.testing.assert_close(masked[1], alone[1])


CLOUDS = {  # latents, codes
    "plain": lambda x, c: (x, c),
    "far from the origin": lambda x, c: (1e6 + x, 1e6 + c),
    "two clouds": lambda x, c: (x + 1e6 * (torch.arange(64)[:, None] % 2), c + 1e6 * (torch.arange(8)[:, None] % 3 == 0)),
    "equal codes": lambda x, c: (x, c[torch.arange(8) // 3]),
    "codes out of reach": lambda x, c: (x, c + 60.0 * (torch.arange(8)[:, None] % 3 == 0)),
    "latents on codes": lambda x, c: (c.repeat(8, 1) + 1e-4 * x, c),
}


@pytest.mark.filterwarnings("ignore:Sinkhorn has not balanced")
@pytest.mark.parametrize("cloud", CLOUDS)
def test_products_balance_as_the_simulator_does(cloud):
    random = torch.Generator().manual_seed(2)
    x, codes = CLOUDS[cloud](*(torch.randn(n, 2, generator=random, dtype=torch.float64) for n in (64, 8)))
    indices, prices, imbalance = balance(x, torch.ones(64, dtype=bool), codes, codes.new_zeros(8), 1.0, 20, 0.01)
    rule = Sinkhorn(rounds=20, tolerance=0.01)
    state, info = rule.advance(rule.init(codes.numpy()), Batches(x.numpy()[None]))
    assert indices.tolist() == info["assignment"].tolist()
    rounding = 200 * torch.finfo(torch.float64).eps * (abs(state.prices).max() + 1)
    np.testing.assert_allclose(prices.numpy(), state.prices, rtol=0, atol=rounding)
    assert float(imbalance) == pytest.approx(info["imbalance"][0], rel=1e-9)


def test_of_codes_whose_prices_make_up_for_their_distances_the_nearest_wins():
    z, codes, prices = torch.zeros(1, 1), torch.tensor([[2.0], [1.0]]), torch.tensor([3.0, 0.0])
    indices, _, _ = balance(z, torch.ones(1, dtype=bool), codes, prices, 1.0, 1, 1e9)
    rule = Sinkhorn(tolerance=1e9)
    state = rule.init(codes.numpy())._replace(prices=prices.numpy())
    _, info = rule.advance(state, Batches(z.numpy()[None]))
    assert indices.tolist() == info["assignment"].tolist() == [1]
