"""What brings codes back, or keeps them in use, beside the distance: anchors, ranks, and a price on usage.

CVQ. A code with the share f_k in every update has P_k = f_k. From its last win on P_k falls as gamma^t, and where its anchor
stands still it has left, of its way there,

    prod_s (1 - exp(-10 K f_k gamma^s / (1 - gamma) - 0.001)).

Conscience. A code k that wins a latent x from a code j has b^2 K (f_k - f_j) <= |x - c_j|^2 - |x - c_k|^2 at that time, and
a batch adds at most 1 - decay to f_k - f_j. Where latents and codes lie within a diameter L, after a while

    K (max f - min f) <= (L / b)^2 + K (1 - decay).
"""

from __future__ import annotations

import numpy as np

from vqtheory.claims.laws.provenance import DERIVED
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.measure import cells
from vqtheory.protocols import Batches, Rule
from vqtheory.rules import CVQ, VQ, Conscience, NeuralGas
from vqtheory.schedules import exponential

LAW = "revival"
CODES, BATCH = 16, 64


@claim(
    key="cvq-revives-by-its-share",
    statement="What is left of a code's way to its anchor, t updates after its last win, over prod (1 - alpha_s)",
    source="Zheng & Vedaldi, arXiv 2307.15139; product derived here",
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(1 - 1e-9, 1 + 1e-9),
)
def left_of_the_way(effort: Effort, seed: int) -> list[float]:
    """A code at 1 that has won its fair share until now, and all latents at 0, where the other code is."""
    ratios = []
    for decay in (0.9, 0.99, 0.995):
        updates = int(np.log(10 / np.log(2)) / -np.log(decay)) + 5  # alpha comes to 1/2
        rule = CVQ(0.5, decay=decay)
        state = rule.init(np.array([[1.0], [0.0]]))._replace(shares=np.full(2, (1 - decay) / 2))
        state, _ = rule.advance(state, Batches(np.zeros((updates, 4, 1))))
        alpha = np.exp(-10 * decay ** np.arange(1, updates + 1) - 1e-3)
        ratios.append(float(state.codes[0, 0] / np.prod(1 - alpha)))
    return ratios


def share_in_use(rule: Rule, jump: float, seed: int) -> float:
    """The share of 16 codes that fresh latents choose, 4,000 updates after a Gaussian cloud in the plane has jumped."""
    random, aside = np.random.default_rng(seed), np.array([jump, 0.0])
    state = rule.init(random.normal(size=(CODES, 2)), seed)
    state, _ = rule.advance(state, Batches(random.normal(size=(4000, BATCH, 2)) + aside))
    return float((cells(random.normal(size=(200 * CODES, 2)) + aside, state.codes).hits > 0).mean())


@claim(
    key="neural-gas-recovers-from-any-jump",
    statement="After a jump by 10 to a million spreads neural gas with a falling range has all of 16 codes in use (share)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=1.0,
)
def of_neural_gas(effort: Effort, seed: int) -> list[float]:
    """The range falls from K by 20 halvings, the first of which takes 200 updates: by then all codes are at the cloud."""
    runs = 4 if effort == "quick" else 40
    rule = NeuralGas(1.0, exponential(float(CODES), half_life=200))
    return [share_in_use(rule, jump, seed * 1000 + i) for jump in (1e1, 1e3, 1e6) for i in range(runs)]


@claim(
    key="vq-does-not-recover-from-a-jump",
    statement="After a jump by a thousand spreads plain VQ has 1 to 4 of 16 codes in use (share)",
    source=DERIVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(1 / CODES, 4 / CODES),
    seen=range(4),
)
def of_vq(effort: Effort, seed: int) -> list[float]:
    """The same runs as of neural gas."""
    return [share_in_use(VQ(1.0), 1e3, seed * 1000 + i) for i in range(4 if effort == "quick" else 40)]


@claim(
    key="conscience-evens-usage",
    statement="With a conscience shares differ by at most (L / b)^2 + K (1 - decay) in units of 1/K (difference over bound)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 1.0),
)
def difference_of_shares(effort: Effort, seed: int) -> list[float]:
    """The square of uniform latents, in [0, 1] as the codes are; L = 1."""
    ratios = []
    for i in range(4 if effort == "quick" else 40):
        random = np.random.default_rng([seed, i])
        for bias in (1.0, 3.0, 10.0):
            rule = Conscience(0.5, bias, decay=0.999)
            state, _ = rule.advance(rule.init(random.random((CODES, 1))), Batches(random.random((20_000, BATCH, 1)) ** 2))
            ratios.append(CODES * float(np.ptp(state.shares)) / (bias**-2 + CODES * (1 - rule.decay)))
    return ratios


CLAIMS = [left_of_the_way, of_neural_gas, of_vq, difference_of_shares]
