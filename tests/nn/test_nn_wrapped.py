"""Rules around rules in the layer are the simulator's, to rounding, on the same batches."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vqtheory import Batches  # noqa: E402
from vqtheory.nn import VectorQuantize, step_size  # noqa: E402
from vqtheory.nn.training.config import TrainingConfig  # noqa: E402
from vqtheory.rules import CVQ, EMA, NSVQ, VQ, Affine, Reestimate, TrainedVQ, Wasserstein  # noqa: E402

ETA, DIM, CODES, STEPS = 0.25, 3, 6, 11
RULES = [
    Affine(VQ(ETA)),
    Affine(EMA(), "covariance", decay=0.5),
    Affine(EMA(smoothing=1e-5), "scalar", decay=0.5),
    Wasserstein(VQ(ETA), decay=0.8),
    Wasserstein(NSVQ()),
    Reestimate(VQ(ETA), every=4, until=8, reservoir=64),
    Affine(Reestimate(NSVQ(), every=4, until=8, reservoir=64), decay=0.5),
    Reestimate(Affine(CVQ(ETA), decay=0.5), every=4, until=8, reservoir=64),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_it_is_the_simulator(rule):
    """In a drift, by SGD where there is an optimizer; a pickle and a copy of the state dict go on alike."""
    rule, random = rule.under("sgd", ETA) or rule, np.random.default_rng(0)
    codes = random.normal(size=(CODES, DIM))
    x = random.normal(size=(STEPS, 40, DIM)) + 0.1 * np.arange(STEPS)[:, None, None]
    layer, state = VectorQuantize(DIM, CODES, rule, commitment_weight=0.0).double(), rule.init(codes, 3)
    layer._codebook.load(state)
    trained = layer.codebook_parameters()
    optimizer = torch.optim.SGD(trained, lr=step_size(eta=ETA, dim=DIM)) if trained else None
    for batch in x:
        _, indices, loss, _ = layer(torch.from_numpy(batch[None]))
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        state, expected = rule.advance(state, Batches(batch[None]))
        assert indices[0].tolist() == expected["assignment"].tolist()
    np.testing.assert_allclose(layer.codebook.numpy(), state.codes, rtol=0, atol=1e-10)
    pickled, loaded = pickle.loads(pickle.dumps(layer)), VectorQuantize(DIM, CODES, rule, commitment_weight=0.0).double()
    loaded.load_state_dict(layer.state_dict())
    latents = torch.from_numpy(x[:1])
    indices = layer(latents).indices
    for same in (pickled, loaded):
        assert torch.equal(same(latents).indices, indices)
        assert torch.equal(same.codebook, layer.codebook)


def test_too_few_latents_for_a_frame_are_said_once_as_in_the_simulator():
    layer = VectorQuantize(DIM, CODES, Affine(VQ(), "covariance", decay=0.5))
    layer.initialize(torch.eye(CODES, DIM) + torch.arange(CODES)[:, None])
    with pytest.warns(UserWarning, match="never has more than 8 latents, and a frame needs 30") as warned:
        [layer(torch.eye(4, DIM)[None]) for _ in range(3)]
    assert len(warned) == 1


def test_a_reservoir_with_fewer_latents_than_codes_is_refused_at_once():
    rule = Reestimate(VQ(), reservoir=8)
    sentence = "'reservoir' parameter of Reestimate must be an int >= 16, the number of codes"
    for door in (lambda: VectorQuantize(2, 16, Affine(rule)), lambda: TrainingConfig(rule=repr(rule), codes=16)):
        with pytest.raises(ValueError, match=sentence):
            door()
    assert VectorQuantize(2, 8, rule).rule == rule


@pytest.mark.parametrize("alternate", [False, True])
@pytest.mark.parametrize(("optimizer", "options"), [("adam", {}), ("sgd", {"momentum": 0.9})])
def test_after_a_reestimation_an_optimizer_remembers_nothing_of_the_codes(optimizer, options, alternate):
    """As in the simulator; and all of a parameter beside them that has their shape."""
    rate, random = 0.05, np.random.default_rng(0)
    x = random.normal(size=(STEPS, 40, DIM)) + 0.1 * np.arange(STEPS)[:, None, None]
    layer = VectorQuantize(DIM, CODES, Reestimate(VQ(), every=4, until=4, reservoir=64), commitment_weight=0.0).double()
    rule = Reestimate(TrainedVQ(rate, optimizer, **options), every=4, until=4, reservoir=64)
    state = rule.init(random.normal(size=(CODES, DIM)), 3)
    layer._codebook.load(layer.rule.init(state.codes, 3))
    kind, lr = {"adam": (torch.optim.Adam, rate), "sgd": (torch.optim.SGD, step_size(eta=rate, dim=DIM))}[optimizer]
    trained, other = kind(layer.codebook_parameters(), lr=lr, **options), torch.zeros(CODES, DIM, requires_grad=True)
    beside = torch.optim.Adam([other])
    if alternate:
        layer.step_inside(trained)
    for batch in x:
        loss = layer(torch.from_numpy(batch[None])).loss + other.sum()
        trained.zero_grad()
        beside.zero_grad()
        loss.backward()
        beside.step()
        trained.step()
        state, _ = rule.advance(state, Batches(batch[None]))
    np.testing.assert_allclose(layer.codebook.numpy(), state.codes, rtol=0, atol=1e-6)  # Adam's 1e-8 has a unit
    torch.testing.assert_close(beside.state[other]["exp_avg"], torch.full((CODES, DIM), 1 - 0.9**STEPS))
