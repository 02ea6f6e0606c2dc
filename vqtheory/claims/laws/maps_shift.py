"""What a step that all codes share is worth against drift, in one dimension.

Let every gradient also move all codes together: Theta = I + beta 1 1^T. In a steady drift of lag a = v / eta,
Theta G = -a 1 gives every code that is alive G_k = -a / (1 + beta K): the steady states are those of plain vector
quantization at a lag 1 + beta K times smaller, and so K codes live up to (1 + beta K) times the speed. That
turns the law's K^-3 into K^-2. A codebook that moves as a whole only, Theta = 1 1^T, has no speed that kills
for good; it trails by sqrt(2 a) and uses the codes that still lie in the cloud.

Uniform cloud on [0, 1], in its own frame, where the codes fall back by v per update.
"""

from __future__ import annotations

import numpy as np

from vqtheory.claims.laws.provenance import DERIVED, SEEN
from vqtheory.claims.statement import Effort, Exact, Limit, Range, claim
from vqtheory.claims.threshold import threshold
from vqtheory.theory import critical_speed, rigid_lag, rigid_usage, shared_shift_gain

LAW = "map rules"


def critical_lag(num_codes: int, beta: float) -> float:
    """v / eta up to which the K codes of a uniform cloud live, by the law."""
    return float(critical_speed(num_codes, 1.0) * shared_shift_gain(beta, num_codes))


def pull(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masses p_k and gradients p_k (c_k - m_k) of ascending codes for the uniform distribution, exactly."""
    borders = np.concatenate([[0.0], np.clip((codes[1:] + codes[:-1]) / 2, 0, 1), [1.0]])
    mass = np.diff(borders)
    return mass, mass * (codes - (borders[1:] + borders[:-1]) / 2)


def all_live(num_codes: int, beta: float, lag: float) -> bool:
    """Whether the mean motion keeps all codes over 60 K^3 units of eta t, several times the slowest mode's life."""
    codes, step = (np.arange(num_codes) + 0.5) / num_codes, 0.5 / (1 / num_codes + beta)
    for _ in range(int(60 * num_codes**3 / step)):
        mass, gradient = pull(codes)
        if mass.min() <= 0:
            return False
        codes = codes - step * (gradient + beta * gradient.sum() + lag)
    return True


def shared_threshold(num_codes: int, beta: float) -> float:
    """The largest speed that the mean motion survives, over the law's, to 0.2 %."""
    law = critical_lag(num_codes, beta)
    return threshold(lambda ratio: all_live(num_codes, beta, ratio * law), 0.8, 1.25, halvings=7)


@claim(
    key="shared-shift-threshold",
    statement="A shared shift, Theta = I + beta 11', multiplies the critical speed by 1 + beta K (mean motion over the "
    "law, to 1 %)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.99, 1.01),
)
def thresholds(effort: Effort, seed: int) -> list[float]:
    """All of them."""
    cases = ((2, 0.5), (2, 4.0), (3, 1.0)) if effort == "quick" else ((2, 4.0), (3, 1.0), (4, 0.3), (6, 2.0))
    return [shared_threshold(num_codes, beta) for num_codes, beta in cases]


def used(num_codes: int, beta: float, lag: float, seed: int, step_size: float = 0.1, batch_size: int = 64) -> int:
    """Codes in use at the end of a run with samples, long enough for three widths and 6 K^3 / eta updates."""
    random = np.random.default_rng(seed)
    codes, hits = np.sort(random.random(num_codes)), np.zeros(num_codes)
    speed = lag * step_size
    updates = int(max(3 / speed, 6 * num_codes**3 / step_size))
    for update in range(updates):
        x = random.random(batch_size)
        winner = np.searchsorted((codes[1:] + codes[:-1]) / 2, x)  # codes in one dimension keep their order
        won = np.bincount(winner, minlength=num_codes)
        gradient = (won * codes - np.bincount(winner, weights=x, minlength=num_codes)) / batch_size
        codes = codes - step_size * (gradient + beta * gradient.sum()) - speed
        hits += won * (update > 0.9 * updates)
    return int((hits > 0).sum())


@claim(
    key="shared-shift-survivors",
    statement="With samples, beta = 1: the survivors are the largest K with (1 + beta K) v_c(K) >= v (difference)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def survivors(effort: Effort, seed: int) -> list[float]:
    """Codes in use less the law's, at speeds midway between two thresholds, beta = 1.

    A dead code has no pull of its own, but goes on being shifted: with K' codes alive the factor is 1 + beta K'.
    """
    start, runs = (6, 1) if effort == "quick" else (12, 4)
    differences = []
    for left in (2, 3, start - 2):
        lag = np.sqrt(critical_lag(left, beta=1.0) * critical_lag(left + 1, beta=1.0))
        differences += [float(used(start, 1.0, lag, seed * 1000 + i) - left) for i in range(runs)]
    return differences


def rigid(num_codes: int, lag: float, seed: int, step_size: float = 0.05, batch_size: int = 64) -> tuple[float, float]:
    """How far a codebook trails the cloud that moves as a whole only, and the share of its codes in use."""
    random = np.random.default_rng(seed)
    codes = (np.arange(num_codes) + 0.5) / num_codes
    borders, offset, total, hits = (codes[1:] + codes[:-1]) / 2, 0.0, 0.0, np.zeros(num_codes)
    updates = 6000
    for update in range(updates):
        x = random.random(batch_size) - offset
        winner = np.searchsorted(borders, x)
        offset -= step_size * (float(np.mean(codes[winner] - x)) + lag)
        if update > updates // 2:
            total -= offset
            hits += np.bincount(winner, minlength=num_codes)
    return total / (updates - updates // 2 - 1), float((hits > 0).mean())


@claim(
    key="rigid-lag",
    statement="A codebook that only shifts as a whole trails a uniform cloud by sqrt(2v/eta), K -> infinity (ratio)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Limit("1/K", order=1),
    predict=1.0,
    resolution=0.05,
)
def rigid_lags(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Lag over the law's at three codebook sizes; v = 0.02 eta."""
    each, law = range(6 if effort == "quick" else 24), float(rigid_lag(0.02, 1.0))
    return {1 / num_codes: [rigid(num_codes, 0.02, seed * 1000 + i)[0] / law for i in each] for num_codes in (32, 64, 128)}


@claim(
    key="rigid-usage",
    statement="A codebook that only shifts as a whole uses 1 - sqrt(2v/eta) of its codes in a drift (ratio, K = 256, to 8 "
    "%)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.92, 1.08),
    seen=SEEN,
)
def rigid_usages(effort: Effort, seed: int) -> list[float]:
    """Share of 256 codes in use over the law's, at three speeds."""
    return [
        rigid(256, lag, seed * 1000 + i)[1] / float(rigid_usage(lag, 1.0))
        for lag in (0.02, 0.05, 0.125)
        for i in range(1 if effort == "quick" else 6)
    ]


CLAIMS = [thresholds, survivors, rigid_lags, rigid_usages]
