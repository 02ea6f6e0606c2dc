"""Rules that assign by a softmax over all codes: how far the softmax of IBQ is open, and which codes win themselves.

At the published start, codes and latents from N(0, I_D), `vqtheory.theory.soft_path` has the mean entropy, the encoder's
gain and the share of codes that have their largest dot product with themselves, exactly. All three change at D = 2 ln K:
below, the softmax is open and codes lose their own latents to longer ones; above, codes win themselves and the softmax
closes, the gain as sqrt(2 ln K / D).

HyperVQ's logit of a code is 0 on the code itself, so that the code j wins it where t_j < t_k cos(a_j, a_k), with t =
tanh(2 sqrt(c) r). Of K codes with directions at random and t from U(0, 1), each does so with the probability m t_k, m = E
max(cos, 0), and the share of codes that win themselves is the mean of (1 - m t)^(K - 1), (1 - (1 - m)^K) / (m K).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import entr, gamma, softmax

from vqtheory.claims.laws.provenance import DERIVED
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.measure import idempotence
from vqtheory.protocols import Batches
from vqtheory.rules import IBQ, HyperVQ
from vqtheory.theory import SoftPath, soft_path

LAW = "softmax"
CODES, DIMENSIONS = 16_384, (8, 32, 64, 256)


@cache
def paths() -> list[SoftPath]:
    """The predictions, a second each."""
    return [soft_path(CODES, dim) for dim in DIMENSIONS]


def at_the_start(dim: int, latents: int, seed: int) -> tuple[float, float]:
    """Mean entropy of the softmaxes of some latents, and mean of tr Cov_p(c) / D."""
    random = np.random.default_rng([seed, dim])
    codes, x = random.normal(size=(CODES, dim)), random.normal(size=(latents, dim))
    share = softmax(x @ codes.T, axis=1)
    spread = share @ (codes**2).sum(axis=1) - ((share @ codes) ** 2).sum(axis=1)
    return float(entr(share).sum() / latents), float(spread.mean() / dim)


@claim(
    key="ibq-soft-path-closes",
    statement="The mean entropy of IBQ's softmax over 16,384 codes at its start, in 8, 32, 64 and 256 dimensions, where "
    "exp(entropy) is 462, 9.0, 3.5 and 1.6 codes (entropy over prediction, mean of the four)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.05,
)
def of_entropy(effort: Effort, seed: int) -> list[float]:
    """Fresh codes and latents for each replicate; the entropies of one codebook share its longest codes."""
    replicates, latents = (8, 50) if effort == "quick" else (30, 200)
    predicted = [np.log(path.effective_codes) for path in paths()]
    measured = [[at_the_start(dim, latents, 1000 * seed + i)[0] for dim in DIMENSIONS] for i in range(replicates)]
    return [float(np.mean(np.array(entropies) / predicted)) for entropies in measured]


@claim(
    key="ibq-encoder-gain-closes",
    statement="The encoder's gain tr Cov / D through IBQ's softmax over 16,384 codes at its start, 0.94, 0.66, 0.48 and "
    "0.25 in 8, 32, 64 and 256 dimensions (gain over prediction, mean of the four)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.05,
)
def of_gain(effort: Effort, seed: int) -> list[float]:
    """As of the entropy."""
    replicates, latents = (8, 50) if effort == "quick" else (30, 200)
    predicted = [path.gain for path in paths()]
    measured = [[at_the_start(dim, latents, 1000 * seed + i)[1] for dim in DIMENSIONS] for i in range(replicates)]
    return [float(np.mean(np.array(gains) / predicted)) for gains in measured]


@claim(
    key="ibq-codes-that-win-themselves",
    statement="The share of 256 codes at IBQ's start that go to themselves by the dot product, 0.45, 0.92 and 1.00 in 8, "
    "16 and 32 dimensions (share over prediction, mean of the three)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.05,
)
def of_own_codes(effort: Effort, seed: int) -> list[float]:
    """From the published start; codes that win themselves are counted by the rule's own assignment."""
    rule, ratios = IBQ(entropy_weight=0.0, start="published"), []
    for i in range(8 if effort == "quick" else 60):
        shares = [idempotence(rule, rule.init(np.zeros((256, dim)), 1000 * seed + i)) for dim in (8, 16, 32)]
        predicted = [soft_path(256, dim).self_assigned for dim in (8, 16, 32)]
        ratios.append(float(np.mean(np.array(shares) / predicted)))
    return ratios


def at_random(dim: int, curvature: float, random: np.random.Generator) -> np.ndarray:
    """64 codes with directions at random, and tanh(2 sqrt(c) r) from U(0, 1)."""
    directions = random.normal(size=(64, dim))
    offsets = np.arctanh(random.uniform(size=(64, 1))) / (2 * curvature**0.5)
    return offsets * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def winning_themselves(dim: int) -> float:
    """The prediction for 64 such codes."""
    chance = gamma(dim / 2) / (2 * np.pi**0.5 * gamma((dim + 1) / 2))
    return float((1 - (1 - chance) ** 64) / (64 * chance))


@claim(
    key="hypervq-idempotence",
    statement="A code of HyperVQ lies on its own decision border, and of 64 codes at random, with tanh(2 sqrt(c) r) from "
    "U(0, 1), a share of 0.05, 0.11 and 0.30 goes to itself in 2, 8 and 64 dimensions (share over prediction, mean of "
    "the three)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.05,
)
def of_borders(effort: Effort, seed: int) -> list[float]:
    """Each replicate is the mean over 100 codebooks, of several curvatures."""
    predicted, ratios = {dim: winning_themselves(dim) for dim in (2, 8, 64)}, []
    for i in range(8 if effort == "quick" else 40):
        random, shares = np.random.default_rng([seed, i]), []
        for curvature in (0.01, 0.1, 1.0, 10.0) * 25:
            rule = HyperVQ(curvature=curvature)
            states = [rule.init(at_random(dim, curvature, random)) for dim in predicted]
            shares.append([idempotence(rule, state) for state in states])
        ratios.append(float(np.mean(np.mean(shares, axis=0) / list(predicted.values()))))
    return ratios


def trained(dim: int, curvature: float, seed: int) -> tuple[float, float]:
    """After 3,000 updates on a standard normal distribution: the share of 64 codes that win themselves, and of used ones."""
    random = np.random.default_rng([seed, dim])
    rule = HyperVQ(0.3, curvature, temperature=0.3)
    state, _ = rule.advance(rule.init(random.normal(size=(64, dim))), Batches(random.normal(size=(3000, 64, dim))))
    used = np.unique(rule.assign(random.normal(size=(12_800, dim)), state))
    return idempotence(rule, state), len(used) / 64


@claim(
    key="hypervq-trained-idempotence",
    statement="After training on a normal distribution in the plane, at a curvature of 0.1, 5 to 20 % of 64 codes of "
    "HyperVQ go to themselves (share)",
    source=DERIVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.05, 0.2),
    seen=range(4),
)
def of_trained_codes(effort: Effort, seed: int) -> list[float]:
    """The decoded code of a latent is encoded again as another one, in training as at the start."""
    return [trained(2, 0.1, 100 * seed + i)[0] for i in range(2 if effort == "quick" else 12)]


@claim(
    key="hypervq-collapses-in-a-ball-too-small",
    statement="On latents from N(0, I) in 8 dimensions HyperVQ uses less than a fifth as many of 64 codes at a curvature of "
    "1 as at 0.1 (ratio)",
    source=DERIVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.0, 0.2),
    seen=range(4),
)
def of_curvature(effort: Effort, seed: int) -> list[float]:
    """Latents of length 2.8 are where a ball of curvature 1 has saturated: the shortest code wins them all."""
    runs = range(2 if effort == "quick" else 12)
    return [trained(8, 1.0, 100 * seed + i)[1] / trained(8, 0.1, 100 * seed + i)[1] for i in runs]


CLAIMS = [of_entropy, of_gain, of_own_codes, of_borders, of_trained_codes, of_curvature]
