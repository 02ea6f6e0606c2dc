"""Map rules under drift and after a wrong start: who follows, who is stretched, who never arrives.

A normal cloud of spread 1 in D dimensions moves along the first axis. SimVQ without bias makes its codes by a
linear map about the origin: a cloud at distance m takes its share s / m of them, however slowly it got there.
With bias it shifts as one, but the codes ahead of the others win more, and pull its map long: above a speed of the
order of 0.02 D eta s the stretch grows without bound, and usage falls like 1 / distance. TransVQ's last norm and
last map multiply: the gain of its kernel on a shift grows with the distance. It is stretched less the farther it
goes, but by plain gradient descent the growing gain ends beyond what a step of fixed size can stand; by Adam it
goes on. And little in any of these kernels shrinks a spread: a start far wider than the cloud uses one code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from vqtheory.claims.statement import Claim, Effort, Exact, Range, Scaling
from vqtheory.measure import cells, usage
from vqtheory.rules import VQ, SimVQ, TransVQ
from vqtheory.simulation.follow import follow
from vqtheory.streams import Gaussian, Mixture, Stream, Translation
from vqtheory.theory import tangent_kernel

LAW = "map rules"
DERIVED = "derived here"


def ride(
    rule: Any, dim: int, num_codes: int, speed: float, distances: Sequence[float], seed: int, batch_size: int = 64
) -> Iterator[tuple[Any, float]]:
    """The state, and the share of codes that fresh latents use, as the cloud reaches each distance; 0 once diverged."""
    stream = Stream(Gaussian(dim), Translation(speed))
    state = rule.init(stream.at(0, seed).sample(num_codes), seed)
    for start, stop in pairwise([0, *(round(distance / speed) for distance in distances)]):
        with threadpool_limits(1, user_api="blas"):
            for begin in range(start, stop, 500):
                state, _ = rule.advance(state, stream.draw(begin, min(500, stop - begin), batch_size, seed))
        finite = bool(np.isfinite(state.codes).all())
        yield state, share_used(stream, state.codes, stop, seed) if finite else 0.0


def share_used(stream: Stream, codes: np.ndarray, step: int, seed: int) -> float:
    """Share of the codes [K, D] that 100 K latents of a step use."""
    return usage(cells(stream.at(step, seed).sample(100 * len(codes)), codes).hits)


def seeds(effort: Effort, seed: int, quick: int, full: int) -> list[int]:
    """As many seeds as the effort allows."""
    return [seed * 1000 + i for i in range(quick if effort == "quick" else full)]


def usage_by_distance(
    rule: Any, dim: int, num_codes: int, speed: float, distances: Sequence[float], quick: int
) -> Callable[[Effort, int], dict[float, list[float]]]:
    """Share of codes in use against the distance that the cloud has come."""

    def experiment(effort: Effort, seed: int) -> dict[float, list[float]]:
        rides = [ride(rule, dim, num_codes, speed, distances, one) for one in seeds(effort, seed, quick, 3 * quick)]
        shares = [[share for _, share in one] for one in rides]
        return dict(zip(distances, map(list, zip(*shares, strict=True)), strict=True))

    return experiment


def usage_by_speed(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Share of codes in use of SimVQ without bias when the cloud has come 8 spreads, against the speed."""
    rule, each = SimVQ(0.1, bias=False), seeds(effort, seed, 16, 48)
    return {speed: [next(ride(rule, 2, 128, speed, [8.0], one))[1] for one in each] for speed in (0.0025, 0.01, 0.04)}


def far_means(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Share of codes in use of SimVQ without bias on a standing cloud, published start, against the cloud's mean."""
    found: dict[float, list[float]] = {}
    for mean in (2.0, 4.0, 8.0):
        stream, rule = Stream(Mixture([[mean, 0.0]], 1.0)), SimVQ(0.2, bias=False, start="published")
        runs = [follow(rule, stream, np.zeros((128, 2)), 2500, one, batch_size=64) for one in seeds(effort, seed, 16, 48)]
        found[mean] = [share_used(stream, run.codes, 0, seed) for run in runs]
    return found


def ends(speed_of: Callable[[int], float], distance: float) -> Callable[[Effort, int], list[float]]:
    """Share of codes in use of SimVQ with bias, eta = 0.1, at a distance; K = 32, 64 and D = 2, 4, 8."""

    def experiment(effort: Effort, seed: int) -> list[float]:
        found = []
        for one in seeds(effort, seed, 1, 6):
            for num_codes, dim in ((32, 2), (64, 4), (32, 8)) if effort == "quick" else ((32, 2), (64, 2), (64, 4), (64, 8)):
                *_, (_, share) = ride(SimVQ(0.1), dim, num_codes, speed_of(dim), [distance], one)
                found.append(share)
        return found

    return experiment


def normal_pull(codes: np.ndarray) -> np.ndarray:
    """G_k = p_k (c_k - m_k) under the standard normal law on the line, exactly; p_k m_k is a difference of densities."""
    order = np.argsort(codes)
    sorted_codes = codes[order]
    borders = (sorted_codes[1:] + sorted_codes[:-1]) / 2
    below = np.concatenate([[0.0], ndtr(borders), [1.0]])
    density = np.concatenate([[0.0], np.exp(-0.5 * borders**2) / np.sqrt(2 * np.pi), [0.0]])
    gradient = np.empty_like(codes)
    gradient[order] = np.diff(below) * sorted_codes + np.diff(density)
    return gradient


def runaway_lag(num_codes: int, seed: int, patience: float = 400.0, step: float = 0.5) -> float:
    """v / eta, raised by fifths, at which SimVQ's mean motion in 1-D is stretched threefold within `patience` of eta t."""
    state = SimVQ().init(np.random.default_rng(seed).normal(size=(num_codes, 1)), seed)
    base, codes = np.column_stack([state.base, np.ones(num_codes)]), state.codes[:, 0]

    def move(codes: np.ndarray, lag: float) -> np.ndarray:
        for _ in range(int(patience / step)):
            codes = codes - step * (base @ (base.T @ normal_pull(codes)) + lag)
        return codes

    codes = move(codes, 0.0)
    spread, lag = codes.std(), 0.003
    while (codes := move(codes, lag)).std() < 3 * spread and lag < 1:
        lag *= 1.2
    return lag


def runaway_ratios(effort: Effort, seed: int) -> list[float]:
    """The lag at which 64 codes run away over that at which 16 do."""
    return [runaway_lag(64, one) / runaway_lag(16, one) for one in seeds(effort, seed, 3, 12)]


def shift_gains(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Gain of TransVQ's kernel on a shift of all codes, by Adam, against the distance that the cloud has come."""
    distances, found = (12.5, 25.0, 50.0, 100.0), []
    for one in seeds(effort, seed, 8, 24):
        rule = TransVQ(1e-3, width=16)
        states = [state for state, _ in ride(rule, 2, 32, 0.03, distances, one)]
        found.append([tangent_kernel(rule, state).shift_gain for state in states])
    return dict(zip(distances, map(list, zip(*found, strict=True)), strict=True))


def far_along(rule: Any, dim: int, speed: float, distance: float, quick: int) -> Callable[[Effort, int], list[float]]:
    """Share of 32 codes in use at a distance."""

    def experiment(effort: Effort, seed: int) -> list[float]:
        return [list(ride(rule, dim, 32, speed, [distance], one))[-1][1] for one in seeds(effort, seed, quick, 12)]

    return experiment


STARTS: dict[str, Callable[[str], Any]] = {
    "VQ": lambda start: VQ(1.0, start=start),
    "TransVQ": lambda start: TransVQ(1e-3, width=32, start=start),
    "SimVQ": lambda start: SimVQ(0.5, start=start),
}


def used_from(start: str) -> Callable[[Effort, int], list[float]]:
    """Share of codes in use by each rule on a standing cloud of mean 0.3 and spread 0.004, D = 8, K = 64."""

    def experiment(effort: Effort, seed: int) -> list[float]:
        stream, found = Stream(Mixture([[0.3] * 8], 0.004)), []
        for one in seeds(effort, seed, 2, 10):
            codes = stream.at(0, one).sample(64)
            for rule in STARTS.values():
                end = follow(rule(start), stream, codes, 1000 if effort == "quick" else 4000, one, batch_size=128)
                found.append(share_used(stream, end.codes, 0, one))
        return found

    return experiment


CLAIMS = [
    Claim(
        "simvq-without-bias-collapses-with-distance",
        "Without bias SimVQ uses a share of its codes that falls like spread / distance (exponent, 4 to 32 spreads)",
        DERIVED,
        LAW,
        Scaling("distance"),
        lambda: Range(-1.25, -0.6),
        usage_by_distance(SimVQ(0.1, bias=False), 2, 128, 0.004, (4.0, 8.0, 16.0, 32.0), quick=16),
        resolution=0.5,
    ),
    Claim(
        "simvq-without-bias-and-speed",
        "SimVQ without bias loses codes with the speed only weakly (exponent of usage at 8 spreads, v = 0.025 to 0.4 eta)",
        DERIVED,
        LAW,
        Scaling("speed"),
        lambda: Range(-0.55, 0.1),
        usage_by_speed,
        resolution=0.6,
    ),
    Claim(
        "simvq-without-bias-far-mean",
        "No drift is needed: the same under a standing law with a far mean (exponent, 2 to 8 spreads)",
        DERIVED,
        LAW,
        Scaling("mean"),
        lambda: Range(-1.4, -0.5),
        far_means,
        resolution=0.8,
    ),
    Claim(
        "simvq-tracks",
        "With bias SimVQ keeps its codes at v = 0.005 D eta s (share in use after 50 spreads; K = 32, 64, D = 2 to 8)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.8, 1.0),
        ends(lambda dim: 0.0005 * dim, 50.0),
        resolution=0.2,
    ),
    Claim(
        "simvq-runs-away",
        "With bias SimVQ is stretched and loses codes at v = 0.08 D eta s (usage after 100 spreads; K = 32, 64, D = 2 to 8)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 0.35),
        ends(lambda dim: 0.008 * dim, 100.0),
        resolution=0.35,
    ),
    Claim(
        "simvq-runaway-usage",
        "Above that speed the share of codes in use falls like 1 / distance (exponent, 6 to 50 spreads)",
        DERIVED,
        LAW,
        Scaling("distance"),
        lambda: Range(-1.3, -0.7),
        usage_by_distance(SimVQ(0.1), 2, 128, 0.016, (6.0, 12.5, 25.0, 50.0), quick=16),
        resolution=0.6,
    ),
    Claim(
        "simvq-runaway-speed-and-size",
        "The speed at which it runs away falls with K in 1-D (mean motion, K = 64 over K = 16)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.05, 0.9),
        runaway_ratios,
        resolution=0.85,
    ),
    Claim(
        "transvq-gain-grows",
        "The gain of TransVQ's kernel on a shift grows about in proportion to the distance (exponent, Adam, to 100 spreads)",
        DERIVED,
        LAW,
        Scaling("distance"),
        lambda: Range(0.6, 1.1),
        shift_gains,
        resolution=0.4,
    ),
    Claim(
        "transvq-does-not-run-away",
        "TransVQ's share in use does not fall with distance where SimVQ's does (exponent, SGD, 12 to 64 spreads, v = 0.02)",
        DERIVED,
        LAW,
        Scaling("distance"),
        lambda: Range(-0.35, 0.5),
        usage_by_distance(TransVQ(0.02, width=16, optimizer="sgd"), 2, 32, 0.02, (12.5, 25.0, 64.0), quick=8),
        resolution=0.8,
    ),
    Claim(
        "transvq-by-adam-tracks",
        "By Adam it keeps its codes all along (share in use after 100 spreads at v = 30 learning rates)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.9, 1.0),
        far_along(TransVQ(1e-3, width=16), 2, 0.03, 100.0, quick=4),
        resolution=0.1,
    ),
    Claim(
        "transvq-by-sgd-breaks",
        "By descent with a fixed step its growing gain ends the run (share in use after 300 spreads, D = 8, v = eta)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 0.3),
        far_along(TransVQ(0.04, width=16, optimizer="sgd"), 8, 0.04, 300.0, quick=2),
        resolution=0.3,
    ),
    Claim(
        "wrong-start-costs-all",
        "From its published start no rule uses the codes on a cloud of spread 0.004 (share in use, K = 64)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 0.1),
        used_from("published"),
        resolution=0.1,
    ),
    Claim(
        "matched-start-costs-none",
        "From a start with the cloud's mean and spread all of them use all codes (share in use, K = 64)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.95, 1.0),
        used_from("matched"),
        resolution=0.05,
    ),
]
