"""NSVQ, normalised form: what a drift does to a code that wins nothing, and how far from k-means the codes rest.

Bounds are measured update by update on runs of the rule, and at rest on one sample that is the batch of every update, where
an equation of the fixed point is exact. The speed up to which a code rides steadily is the mean motion's, at a tau that
stays as it is: in a run tau grows with the drift, so that codes ride steadily beyond it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vqtheory import measure
from vqtheory.claims.laws.provenance import DERIVED, MEASURED, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, Scaling, claim
from vqtheory.claims.threshold import threshold
from vqtheory.protocols import Batches
from vqtheory.rules import EMA, NSVQ, Rule
from vqtheory.rules.nsvq import AveragedState
from vqtheory.simulation.alive import optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Gaussian, Stream, Translation, Uniform
from vqtheory.theory import half_way_time, largest_lag, steady_speed

LAW = "averages"
BATCH, SPEEDS = 256, (1e-3, 1e-2, 0.1, 1.0, 10.0)


def sizes(effort: Effort) -> tuple[int, ...]:
    """How many codes."""
    return (8,) if effort == "quick" else (2, 8, 32)


def farthest_behind(num_codes: int, speed: float, seed: int, steps: int = 400) -> float:
    """How far behind all latents of a batch a code has been that won none of them, over `largest_lag`."""
    rule, stream = NSVQ(), Stream(Uniform(dim=1), Translation(speed))
    state, x, behind = rule.init(optimum(num_codes), seed), stream.draw(0, steps, BATCH, seed).x, 0.0
    for batch in x:
        before = state.codes
        state, info = rule.advance(state, Batches(batch[None]))
        lost = before[info["hits"] == 0]
        behind = max(behind, float(np.max(batch.min() - lost, initial=0.0)))
    return behind / largest_lag(speed, rule.decay)


@claim(
    key="nsvq-loses-no-code",
    statement="NSVQ, normalised: a code that wins nothing is never farther from the latents than v (10 gamma + 1 - gamma) / "
    "(1 - gamma) (largest ratio, v = 0.001 to 10 widths per update)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 1.0),
)
def lags(effort: Effort, seed: int) -> list[float]:
    """All of them."""
    return [farthest_behind(K, speed, seed) for K in sizes(effort) for speed in SPEEDS]


@claim(
    key="nsvq-uses-all-after-any-drift",
    statement="NSVQ, normalised: 500 updates after the same drifts, over 4 widths and 300 updates at least, all codes are "
    "in use (usage)",
    source=MEASURED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.99, 1.0),
    seen=SEEN,
)
def used_after(effort: Effort, seed: int) -> list[float]:
    """All of them."""
    usages = []
    for num_codes in sizes(effort):
        for speed in SPEEDS:
            drift = max(300, math.ceil(4 / speed))
            stream = Stream(Uniform(dim=1), Translation(speed, limit=speed * drift))
            end = follow(NSVQ(), stream, optimum(num_codes), drift + 500, seed, BATCH)
            usages.append(float(np.mean(end.hits > 0)))
    return usages


def swings(speed: float, decay: float, spread: float, tau: float = 1.0) -> bool:
    """Whether a code grows restless behind a normal cloud, by the mean motion of its distance from it, N and W."""
    reach = spread**2 + tau / 2  # the kernel's weights have the variance spread^2 tau / 2 reach, and their mean is so far:
    share, rate = tau / (2 * reach), 1 - decay
    rest = speed / (rate * share)  # at assignment
    distance, count = 1.001 * rest, math.exp(-(rest**2) / (2 * reach))
    largest = [0.0, 0.0]
    for t in range(round(80 / rate)):
        weight = math.exp(-(distance**2) / (2 * reach))
        count = decay * count + rate * weight
        distance += speed - rate * weight / count * share * distance
        half = t >= 40 / rate
        largest[half] = max(largest[half], abs(distance / rest - 1))
        if not 0 < distance < 10 * rest:
            return True
    return largest[1] > largest[0]


def largest_steady(decay: float, spread: float) -> float:
    """The largest speed at which it comes to rest, over `steady_speed`, to 0.1 %."""
    unit = steady_speed(1.0, decay, variance=spread**2 / (1 + 2 * spread**2))
    return threshold(lambda factor: not swings(factor * unit, decay, spread), 0.8, 1.3, halvings=9)


@claim(
    key="nsvq-rides-steadily",
    statement="NSVQ, normalised, at a fixed tau: a code that wins nothing rides steadily up to (1 - gamma) sqrt(tau - Var) "
    "(largest speed over that, by mean motion, gamma = 0.99, to 2 %)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.98, 1.02),
)
def steady_speeds(effort: Effort, seed: int) -> list[float]:
    """Behind normal clouds, narrow and wide."""
    return [largest_steady(0.99, spread) for spread in (0.01, 0.5, 1.0)]


def updates_to_half_way(distance: float, remembered: float, decay: float) -> float:
    """After how many updates a code beside a uniform cloud is still more than half as far, over `half_way_time`."""
    rule, x = NSVQ(decay=decay), (np.arange(200) / 100 - 0.995)[None, :, None]
    state: Any = AveragedState(np.array([[0.0], [distance]]), np.int64(0), np.array([1.0, remembered]))
    start, updates = distance - x.max(), -1
    while state.codes[1, 0] - x.max() > start / 2:
        state, updates = rule.advance(state, Batches(x))[0], updates + 1
    return updates / half_way_time(decay)


@claim(
    key="nsvq-waits-for-nothing",
    statement="NSVQ, normalised: a code that has died is half way back to the latents within ln 11 / ln(1 / gamma) updates, "
    "whatever it had won (largest ratio, 3 to 1,000 half-widths away)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 1.0),
)
def waits(effort: Effort, seed: int) -> list[float]:
    """With memories of 1 to 1e6 latents."""
    cases = [(distance, memory) for distance in (3.0, 10.0, 100.0, 1e3) for memory in (1.0, 1e3, 1e6)]
    return [updates_to_half_way(*case, decay=decay) for case in cases for decay in (0.9, 0.99)]


def at_rest(rule: Rule, sample: np.ndarray, codes: np.ndarray, updates: int) -> np.ndarray:
    """Codes after updates that all have the same batch [N, D]."""
    return rule.advance(rule.init(codes, 0), Batches(np.broadcast_to(sample, (updates, *sample.shape)).copy()))[0].codes


def k_means(sample: np.ndarray, num_codes: int) -> np.ndarray:
    """A k-means solution of a sample, by EMA."""
    return at_rest(EMA(0.5), sample, sample[:num_codes].copy(), updates=150)


def displaced(strength: float, seed: int, num_codes: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At rest: offsets c - m from the centroids, the law's kappa A / (p + kappa A) (kernel's mean - m), and the codes."""
    sample = Stream(Gaussian(dim=2)).at(0, seed).sample(800)
    codes = at_rest(NSVQ(strength=strength, decay=0.5), sample, k_means(sample, num_codes), updates=200)
    squared = ((sample[:, None] - codes) ** 2).sum(axis=2)
    excess = squared - squared.min(axis=1, keepdims=True)
    soft = np.exp(-excess / squared.min(axis=1).mean())
    soft, won = soft / soft.sum(axis=1, keepdims=True), excess == 0
    kernel, mass = np.where(won, 0, strength * soft), won.sum(axis=0)
    centroids = won.T @ sample / mass[:, None]
    towards = (kernel.T @ sample - kernel.sum(axis=0)[:, None] * centroids) / (mass + kernel.sum(axis=0))[:, None]
    return codes - centroids, towards, codes


@claim(
    key="nsvq-rests-off-the-centroid",
    statement="NSVQ, normalised, at rest on a sample: c - m = kappa A / (p + kappa A) (kernel's mean - m) for every code "
    "(largest difference over the largest c - m)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 1e-6),
)
def fixed_points(effort: Effort, seed: int) -> list[float]:
    """Sixteen codes in two dimensions."""
    cases = [displaced(strength, seed) for strength in (1e-3, 1e-1)]
    return [float(np.abs(offset - law).max() / np.abs(offset).max()) for offset, law, _ in cases]


@claim(
    key="nsvq-bias-falls-with-kappa",
    statement="NSVQ, normalised: the distance of the codes from their centroids falls as kappa (exponent, to 1 %)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Scaling("kappa"),
    predict=Range(0.99, 1.01),
)
def biases(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Root mean squares, by kappa."""
    runs = 3 if effort == "quick" else 10
    return {
        strength: [float(np.sqrt(np.mean(displaced(strength, seed * 100 + i, num_codes=8)[0] ** 2))) for i in range(runs)]
        for strength in (1e-5, 1e-4, 1e-3)
    }


def excess_distortion(num_codes: int, seed: int, strength: float = 1e-2) -> float:
    """Distortion at rest over that of k-means from which it has started, on one sample of a normal cloud, D = 8."""
    sample = Stream(Gaussian(dim=8)).at(0, seed).sample(16 * num_codes)
    best = k_means(sample, num_codes)
    codes = at_rest(NSVQ(strength=strength, decay=0.5), sample, best, updates=40)
    return measure.distortion(sample, codes) / measure.distortion(sample, best)


@claim(
    key="nsvq-bias-at-every-size",
    statement="NSVQ, normalised: at kappa = 0.01 its distortion at rest is that of k-means, whatever K (ratio, to 1 %, K = "
    "8 to 512, D = 8)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.99, 1.01),
)
def distortions(effort: Effort, seed: int) -> list[float]:
    """Of a sample with 16 latents for each code."""
    return [excess_distortion(num_codes, seed) for num_codes in ((8, 64) if effort == "quick" else (8, 64, 512))]


CLAIMS = [lags, used_after, steady_speeds, waits, fixed_points, biases, distortions]
