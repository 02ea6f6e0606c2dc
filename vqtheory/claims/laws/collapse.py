"""The collapse law in one dimension: how many codes survive a steady drift, and how noise lowers the threshold.

A code is alive if the mass of its cell, exact from the cdf, is at least one hit in 200 K latents. A code that dies
in a tail takes long to leave it: a run lasts at least 1.5 widths of the cloud (of an unbounded one: 8 deviations)
and K^3 / eta updates, and is then doubled until the count stays. Batches keep the noise of samples small, and the
law that is compared is the one for the run's length, with the share c (eta Lambda / B)^(2/3) taken off the speed.

Codes start as samples of the cloud, ahead of where the drift will hold them. For a log-concave density the start does
not matter; a mixture can have several steady states, of which such a start leads to the largest.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.special import zeta

from vqtheory.claims.laws.provenance import DERIVED
from vqtheory.claims.statement import Claim, Effort, Exact, Limit, Range, claim
from vqtheory.rules import VQ
from vqtheory.simulation.alive import count_alive
from vqtheory.simulation.follow import follow
from vqtheory.streams import Distribution, Gaussian, Mixture, Source, Stream, Translation, Uniform
from vqtheory.theory import critical_speed, steady_state, surviving_codes

LAW = "collapse"
CHUNK = 2**16  # samples between two searches for a lost code


class Cloud(NamedTuple):
    """A distribution in one dimension, and how its survivors are counted."""

    source: Source
    width: float  # what a run covers 1.5 times
    directions: tuple[int, ...]  # one is enough for a symmetric distribution


CLOUDS = {
    "uniform": Cloud(Uniform(dim=1), 1.0, (1,)),
    "normal": Cloud(Gaussian(dim=1), 8.0, (1,)),
    "logistic": Cloud(Distribution("logistic"), 14.5, (1,)),
    "exponential": Cloud(Distribution("expon"), 8.0, (1, -1)),
    "quadratic": Cloud(Distribution("powerlaw", 3.0), 1.0, (1, -1)),  # f = 3 x^2 on [0, 1]
    "mixture": Cloud(Mixture([[-1.5], [1.5]], scale=0.8, weights=[2, 1]), 13.0, (1, -1)),
}


@claim(
    key="threshold-of-two",
    statement="Two codes on a uniform distribution live up to eta sqrt(3) / 36 (ratio)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(error=1e-12),
    predict=1.0,
)
def threshold_of_two(effort: Effort, seed: int) -> float:
    """36 v_c(2) / (eta sqrt 3)."""
    return critical_speed(2, 0.05) * 36 / (0.05 * math.sqrt(3))


@claim(
    key="threshold-of-many",
    statement="Many codes on a uniform distribution live up to (9/32) eta K^-3 (1 - 3 zeta(-1/2) K^-1.5), and by a further "
    "share of K^-2/16 to K^-2/8 (that share times K^2, K = 32 to 512)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(1 / 16, 1 / 8),
)
def further_shares(effort: Effort, seed: int) -> list[float]:
    """What v_c(K) over (9/32) eta K^-3 exceeds two terms of its expansion by, times K^2.

    By the Euler-Maclaurin formula G is (2/3) (y + K)^(3/2) + zeta(-1/2, y + 1) - sqrt(y)/2 + (y + K)^(-1/2)/24, with its
    minimum near y = 1 / 16K. The further share is K^-2/16 - (3/32) zeta(1/2) K^-2.5 + O(K^-3).
    """
    minus_three_zeta = 3 * zeta(1.5) / (4 * math.pi)  # -3 zeta(-1/2), by reflection
    return [
        k**2 * (critical_speed(k, 1.0) * k**3 * 32 / 9 - 1 - minus_three_zeta * k**-1.5) for k in (32, 64, 128, 256, 512)
    ]


class Survivors(NamedTuple):
    """Codes that a steady drift leaves alive."""

    speed: float
    simulated: int
    predicted: int  # for a run of that length
    fluid: int  # without the noise of samples


def survivors(
    cloud: Cloud, direction: int, num_codes: int, factor: float, seed: int, batch_size: int = 32, step_size: float = 1.0
) -> Survivors:
    """The survivors of a drift at `factor` times the critical speed, once their number has stayed for as long again."""
    law: Any = {"density": cloud.source, "direction": direction}
    speed = factor * critical_speed(num_codes, step_size, **law)
    stream = Stream(cloud.source, Translation(direction * speed))
    stop = math.ceil(max(1.5 * cloud.width / speed, num_codes**3 / step_size))
    codes, done, counts = stream.at(0, seed).sample(num_codes), 0, list[int]()
    while len(counts) < 2 or counts[-1] != counts[-2]:
        codes = follow(VQ(step_size), stream, codes, stop - done, seed, batch_size, done).codes
        counts.append(count_alive(stream, codes, stop))
        done, stop = stop, 2 * stop
    noisy = surviving_codes(speed, step_size, num_codes=num_codes, batch_size=batch_size, steps=done, **law)
    return Survivors(speed, counts[-1], noisy, surviving_codes(speed, step_size, num_codes=num_codes, **law))


def survivors_of(name: str) -> Claim:
    """The claim for one cloud."""
    cloud = CLOUDS[name]
    ways = ", both ways" if len(cloud.directions) > 1 else ""

    @claim(
        key=f"survivors-{name}",
        statement=f"Survivors of a steady drift, {name} distribution{ways}: simulated less predicted, over one code or 3 "
        f"%, up to 50 v_c",
        source=DERIVED,
        law=LAW,
        strength="tolerance",
        kind=Exact(worst=True),
        predict=Range(-1.0, 1.0),
    )
    def excess(effort: Effort, seed: int) -> list[float]:
        """(simulated - predicted survivors) over one code or 3 %, whichever is more, at several speeds."""
        cases = ((16, 8.0), (16, 50.0)) if effort == "quick" else ((24, 2.0), (64, 12.0), (64, 50.0))
        runs = [survivors(cloud, way, *case, seed) for way in cloud.directions for case in cases]
        return [(run.simulated - run.predicted) / max(1.0, 0.03 * run.predicted) for run in runs]

    return excess


def run_length(num_codes: int, step_size: float, batch_size: int) -> int:
    """Updates in which the noise makes about 60 attempts to kick a code out, whatever the step size: Lambda near 4."""
    return round(300 * num_codes**2 / step_size * (batch_size / step_size) ** (1 / 3))


def loses_one(num_codes: int, speed: float, step_size: float, batch_size: int, seed: int) -> bool:
    """Whether codes on a uniform cloud, in the steady state of a drift, lose the last of them in a run of `run_length`."""
    stream, steps = Stream(Uniform(dim=1), Translation(speed)), run_length(num_codes, step_size, batch_size)
    codes, piece = steady_state(num_codes, speed / step_size), CHUNK // batch_size
    assert codes is not None
    codes = codes[:, None]
    for start in range(0, steps, piece):
        stop = min(start + piece, steps)
        codes = follow(VQ(step_size), stream, codes, stop - start, seed, batch_size, start).codes
        last, next_to_last = np.sort(codes[:, 0])[:2] - speed * stop
        if last + next_to_last < 0:  # its cell is behind the cloud
            return True
    return False


def noise_share(num_codes: int, step_size: float, batch_size: int, seed: int, runs: int = 25) -> float:
    """1 - v / v_c at the speed v at which a run loses a code with probability 1 - 1/e.

    By stochastic approximation (Robbins and Monro) on the logarithm of the share; the chance of a loss falls by
    about 4 per unit of it, whatever the step size.
    """
    critical, log_share = critical_speed(num_codes, step_size), math.log(0.1)
    for n in range(runs):
        speed = critical * (1 - math.exp(log_share))
        lost = loses_one(num_codes, speed, step_size, batch_size, seed * 1000 + n)
        log_share += 1 / (n + 1) * (lost - (1 - math.exp(-1)))
    return math.exp(log_share)


@cache
def noisy_share(num_codes: int, step_size: float, batch_size: int) -> float:
    """The same by the law, c (eta Lambda / B)^(2/3)."""
    steps = run_length(num_codes, step_size, batch_size)
    noisy = critical_speed(num_codes, step_size, batch_size=batch_size, steps=steps)
    return 1 - noisy / critical_speed(num_codes, step_size)


def chains(effort: Effort, seed: int, quick: dict[int, int], full: dict[int, int]) -> list[tuple[int, int]]:
    """Number of codes and seed of each chain of runs; there are so many chains for each number of codes."""
    counts = quick if effort == "quick" else full
    return [(num_codes, seed * 1000 + 10 * i) for num_codes, count in counts.items() for i in range(count)]


@claim(
    key="threshold-of-small-steps",
    statement="The speed at which a run loses its first code, over v_c, as eta -> 0: the noise takes eta^(2/3) off (K = 2 "
    "to 8)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Limit("step size", order=2 / 3),
    predict=1.0,
    resolution=0.08,
)
def thresholds(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Threshold of a run over v_c, one sample per update, at three step sizes."""
    runs = chains(effort, seed, {2: 4, 4: 2}, {2: 4, 4: 3, 8: 1})
    sizes = (0.04, 0.02, 0.01) if effort == "quick" else (0.02, 0.01, 0.005)
    return {eta: [1 - noise_share(num_codes, eta, 1, one) for num_codes, one in runs] for eta in sizes}


@claim(
    key="threshold-with-noise",
    statement="The speed at which a run loses its first code, over v_c (1 - c (eta Lambda / B)^(2/3)), as eta -> 0 (K = 2 "
    "to 8)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Limit("step size", order=1),
    predict=1.0,
    resolution=0.05,
)
def noisy_thresholds(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Threshold of a run over the law for a run of that length, one sample per update, at three step sizes."""
    runs = chains(effort, seed, {2: 8, 4: 3}, {2: 8, 4: 8, 8: 6})
    return {
        eta: [(1 - noise_share(K, eta, 1, one)) / (1 - noisy_share(K, eta, 1)) for K, one in runs]
        for eta in (0.1, 0.05, 0.025)
    }


@claim(
    key="noise-falls-with-batches",
    statement="Step size and batch size lower the threshold by eta / B alone (share taken off at eta = 0.4, B = 8, over "
    "that at 0.05, 1; K = 2; to a tenth)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    predict=Range(0.9, 1.1),
)
def shares_of_batches(effort: Effort, seed: int) -> list[float]:
    """What the noise takes off the threshold of two codes with B = 8, eta = 0.4, over that with B = 1, eta = 0.05."""
    runs = chains(effort, seed, {2: 36}, {2: 128})
    return [noise_share(K, 0.4, 8, one) / noise_share(K, 0.05, 1, one + 1) for K, one in runs]


CLAIMS = [
    threshold_of_two,
    further_shares,
    thresholds,
    noisy_thresholds,
    shares_of_batches,
    *map(survivors_of, CLOUDS),
]
