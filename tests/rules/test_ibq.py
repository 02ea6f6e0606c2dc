"""IBQ in the simulator: its step is the gradient of the published loss, in which what is held is held."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax

from vqtheory import Batches, simulate, streams
from vqtheory.rules import IBQ, Transport


def similarity(rule, x, codes):
    return x @ codes.T if rule.similarity == "dot" else -((x[:, None] - codes) ** 2).sum(axis=2)


def surrogate(rule, x, codes, held):
    """The published loss as a function of the codes; the assignment and sg(p) are of the codes that are held."""
    there, here = similarity(rule, x, held), similarity(rule, x, codes)
    onehot = np.eye(len(codes))[there.argmax(axis=1)]
    mixed = (onehot - softmax(there / rule.temperature, axis=1) + softmax(here / rule.temperature, axis=1)) @ codes
    logs = log_softmax(here / rule.entropy_temperature, axis=1)
    mean = logsumexp(logs, axis=0) - np.log(len(x))
    entropies = -(np.exp(logs) * logs).sum() / len(x) + (np.exp(mean) * mean).sum()
    errors = ((mixed - x) ** 2).mean() + ((onehot @ codes - x) ** 2).mean()
    return errors + rule.entropy_weight * entropies


@pytest.mark.parametrize(
    "rule",
    [
        IBQ(1.0, name, temperature, weight, 0.3)
        for name in ("dot", "l2")
        for temperature, weight in ((1.0, 0.05), (0.4, 1.5))
    ],
    ids=repr,
)
def test_a_step_is_the_gradient_of_the_loss(rule):
    """Central differences; their error is of order h^2 = 1e-10 times third derivatives, and of rounding over h."""
    random, h = np.random.default_rng(0), 1e-5
    x, codes = 0.5 * random.normal(size=(1, 12, 3)), 0.5 * random.normal(size=(7, 3))
    after, _ = rule.advance(rule.init(codes), Batches(x))
    slope = np.zeros_like(codes)
    for place in np.ndindex(codes.shape):
        ends = []
        for sign in (1, -1, 2, -2):
            moved = codes.copy()
            moved[place] += sign * h
            ends.append(surrogate(rule, x[0], moved, codes))
        slope[place] = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
    gradient = (codes - after.codes) * 2 / 3  # a step of 1 is D / 2 of it
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-8)


def test_the_dot_product_prefers_long_codes_in_evaluation_too():
    rule, codes = IBQ(1e-9, entropy_weight=0.0), np.array([[0.5, 0.0], [3.0, 0.0]])
    state, latents = rule.init(codes), np.array([[0.5, 0.1], [-0.5, 0.0]])
    _, info = rule.advance(state, Batches(latents[None]))
    assert info["assignment"].tolist() == rule.assign(latents, state).tolist() == [1, 0]
    assert Transport(rule).assign(latents, state).tolist() == [1, 0]
    assert IBQ(similarity="l2").assign(latents, state).tolist() == [0, 0]
    run = simulate(rule, streams.Stream(streams.Uniform(dim=2)), codes=codes, steps=2, progress=False)
    assert run.history["dead"].to_list() == [1] * len(run.history)  # the nearest code would be code 0 for most
