"""Remedies: codes that are replaced, estimated anew, kept in a frame, or given equal shares. What each does and does not."""

from __future__ import annotations

import warnings

import numpy as np

from vqtheory.claims.laws.provenance import DERIVED, OBSERVED, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.measure import cells
from vqtheory.protocols import Batches
from vqtheory.reference import lloyd
from vqtheory.rules import EMA, VQ, Affine, Reestimate, Replacement, Sinkhorn
from vqtheory.simulation.alive import optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Gaussian, Latents, Rotation, Scaling, Stream, Translation, Uniform

LAW = "remedies"
LINE = Uniform(dim=1)


def replaced(num_codes: int, batch_size: int, least: float, decay: float, steps: int, seed: int) -> np.ndarray:
    """Codes replaced in each update, by expiry."""
    stream, rule = Stream(LINE), Replacement(EMA(decay), every=1, least=least, policy="count")
    state, counts = rule.init(stream.at(0, seed).sample(num_codes), seed), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is measured here
        for t in range(steps):
            state, info = rule.advance(state, stream.draw(t, 1, batch_size, seed))
            counts.append(int(info["replaced"]))
    return np.array(counts)


@claim(
    key="expiry-above-the-bound",
    statement="Expiry with a threshold h of N latents, where K h > N, replaces K - N/h codes at least per update on "
    "average, for ever (replaced over that)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(1.0, np.inf),
)
def above_the_bound(effort: Effort, seed: int) -> list[float]:
    """K = 32 and N = 48, at two thresholds and two memories, in the last half of the updates."""
    ratios = []
    for threshold in (2, 3):
        for decay in (0.8, 0.99):
            counts = replaced(32, 48, threshold, decay, 100 if effort == "quick" else 1000, seed)
            ratios.append(counts[len(counts) // 2 :].mean() / (32 - 48 / threshold))
    return ratios


@claim(
    key="expiry-below-the-bound",
    statement="Well below that bound, at K h = N / 16, expiry comes to an end (codes replaced in an update, as a share of "
    "all)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.0, 0.001),
)
def below_the_bound(effort: Effort, seed: int) -> list[float]:
    """In the last half of the updates, from codes that are latents."""
    steps, found = 400 if effort == "quick" else 2000, []
    for i in range(2 if effort == "quick" else 8):
        for decay in (0.8, 0.99):
            counts = replaced(32, 512, 1.0, decay, steps, seed * 100 + i)
            found.append(counts[steps // 2 :].mean() / 32)
    return found


@claim(
    key="reestimation-lag",
    statement="Right after k-means on a reservoir of the last E updates the codes lie half a window behind a drift (lag "
    "over v (E - 1) / 2)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.1,
)
def reestimation_lag(effort: Effort, seed: int) -> list[float]:
    """The mean of the codes behind the latents' mean in the last update, E = 200 and v E = 2 widths, at a tiny step size."""
    every, speed, lags = 200, 0.01, []
    rule, stream = Reestimate(VQ(1e-15), every=every, until=every, reservoir=2048), Stream(LINE, Translation(speed))
    for i in range(16 if effort == "quick" else 40):
        codes = follow(rule, stream, optimum(64), every, seed * 100 + i, 64).codes
        lags.append(float(0.5 + speed * (every - 1) - codes.mean()) / (speed * (every - 1) / 2))
    return lags


@claim(
    key="affine-translation-and-growth",
    statement="In a frame of the latents' mean and scale all codes live, during a translation and during growth in which "
    "plain VQ loses codes (usage)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=1.0,
)
def translated_and_grown(effort: Effort, seed: int) -> list[float]:
    """At 20 to 100 times the critical speed of K = 16 codes, a lag of a tenth of a cell, and growth by e^7."""
    usage, rule = [], Affine(VQ(0.1), "scalar", decay=0.9)
    for drift, steps in ((Translation(5e-4), 4000), (Translation(7e-4), 4000), (Scaling(0.01), 700)):
        end = follow(rule, Stream(LINE, drift), optimum(16), steps if effort == "quick" else 2 * steps, seed, 256)
        usage.append(float(np.mean(end.hits > 0)))
    return usage


@claim(
    key="affine-other-shape",
    statement="In a strip that turns, which a scalar frame does not see, codes in such a frame die, and in the frame of the "
    "covariance they live (by how much the share alive is larger)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.25, 0.75),
    seen=SEEN,
)
def turned(effort: Effort, seed: int) -> list[float]:
    """A strip of 2 by 0.2 that turns by a right angle in 1,570 updates, 32 codes."""
    found = []
    for i in range(2 if effort == "quick" else 8):
        points = np.random.default_rng([seed, i]).uniform(-1, 1, (8192, 2)) * [1.0, 0.1]
        stream = Stream(Latents(points), Rotation(1e-3))
        alive = {}
        for per in ("scalar", "covariance"):
            end = follow(Affine(VQ(0.1), per, decay=0.9), stream, points[:32], 1570, seed, 256)
            alive[per] = np.mean(cells(stream.at(1570, seed).sample(8192), end.codes).hits > 0)
        found.append(float(alive["covariance"] - alive["scalar"]))
    return found


@claim(
    key="sinkhorn-usage",
    statement="Balanced assignment brings codes to life from far away (share of the codes that are nearest to one of 100 K "
    "fresh latents)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=1.0,
)
def balanced_usage(effort: Effort, seed: int) -> list[float]:
    """Of K = 32 codes one is on a latent, and the others are 10 deviations away, where plain VQ leaves them for ever."""
    usage = []
    for dim in (1, 2, 8):
        stream = Stream(Gaussian(dim))
        codes = stream.at(0, seed).sample(32)
        codes[1:] += 10.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # while they are on their way
            end = follow(Sinkhorn(step_size=1.0), stream, codes, 300 if effort == "quick" else 1000, seed, 256)
        usage.append(float(np.mean(cells(stream.at(0, seed + 1).sample(3200), end.codes).hits > 0)))
    return usage


def of_equal_shares() -> Range:
    """(int 1/f) / (int f^(1/3))^3 of f = 1/2 + x on the unit interval, to 2 %."""
    ratio = np.log(3) / (0.75 * (1.5 ** (4 / 3) - 0.5 ** (4 / 3))) ** 3
    return Range(0.98 * ratio, 1.02 * ratio)


@claim(
    key="sinkhorn-distortion",
    statement="Equal shares cost distortion, (int 1/f) / (int f^(1/3))^3 for many codes in one dimension: 13 % where f "
    "rises from 1/2 to 3/2 (distortion over the optimum's)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=of_equal_shares(),
)
def balanced_distortion(effort: Effort, seed: int) -> list[float]:
    """With the nearest code, all latents at once, from codes that Lloyd's algorithm has left; K = 16 and 32."""
    quantiles, found = (np.arange(2048) + 0.5) / 2048, []
    points = (np.sqrt(0.25 + 2 * quantiles) - 0.5)[:, None]
    for num_codes, updates in ((16, 100),) if effort == "quick" else ((16, 200), (32, 400)):
        best = lloyd(points, num_codes, restarts=4, seed=seed)
        rule = Sinkhorn(step_size=0.3 * num_codes, temperature=2.0, rounds=50, tolerance=0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the way there
            state, _ = rule.advance(rule.init(best.codes), Batches(points[None].repeat(updates, axis=0)))
        found.append(float(cells(points, state.codes).distortion / best.distortion))
    return found


CLAIMS = [
    above_the_bound,
    below_the_bound,
    reestimation_lag,
    translated_and_grown,
    turned,
    balanced_usage,
    balanced_distortion,
]
