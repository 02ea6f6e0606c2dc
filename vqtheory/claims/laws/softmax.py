"""Rules that assign by a softmax over all codes: how far the softmax of IBQ is open, and which codes win themselves.

At the published start, codes and latents from N(0, I_D), `vqtheory.theory.soft_path` has the mean entropy, the encoder's gain
and the share of codes that have their largest dot product with themselves, exactly. All three change at D = 2 ln K: below,
the softmax is open and codes lose their own latents to longer ones; above, codes win themselves and the softmax closes, the
gain as sqrt(2 ln K / D).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import entr, softmax

from vqtheory.claims.laws.provenance import DERIVED
from vqtheory.claims.statement import Effort, claim
from vqtheory.measure import idempotence
from vqtheory.rules import IBQ
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
    replicates, latents = (8, 50) if effort == "quick" else (60, 200)
    predicted = [np.log(path.effective_codes) for path in paths()]
    measured = [[at_the_start(dim, latents, 1000 * seed + i)[0] for dim in DIMENSIONS] for i in range(replicates)]
    return [float(np.mean(np.array(entropies) / predicted)) for entropies in measured]


@claim(
    key="ibq-encoder-gain-closes",
    statement="The encoder's gain tr Cov / D through IBQ's softmax over 16,384 codes at its start, 0.94, 0.66, 0.48 and 0.25 "
    "in 8, 32, 64 and 256 dimensions (gain over prediction, mean of the four)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.05,
)
def of_gain(effort: Effort, seed: int) -> list[float]:
    """As of the entropy."""
    replicates, latents = (8, 50) if effort == "quick" else (60, 200)
    predicted = [path.gain for path in paths()]
    measured = [[at_the_start(dim, latents, 1000 * seed + i)[1] for dim in DIMENSIONS] for i in range(replicates)]
    return [float(np.mean(np.array(gains) / predicted)) for gains in measured]


@claim(
    key="ibq-codes-that-win-themselves",
    statement="The share of 256 codes at IBQ's start that go to themselves by the dot product, 0.45, 0.92 and 1.00 in 8, 16 "
    "and 32 dimensions (share over prediction, mean of the three)",
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


CLAIMS = [of_entropy, of_gain, of_own_codes]
