"""A stationary encoder: the online rule reaches a k-means solution, and how slowly.

On the unit interval with a uniform distribution the optimum is c_k = (2k - 1) / 2K. About it the mean motion is the
second difference of the codes over 4K with both ends held, whose slowest mode is sin(pi (k - 1/2) / K): it relaxes at
the rate sin^2(pi / 2K) / K per unit of eta t, which for many codes is pi^2 / 4K^3.
"""

from __future__ import annotations

import numpy as np

from vqtheory.claims.laws.provenance import DERIVED, PAPER
from vqtheory.claims.statement import Effort, Exact, Limit, Range, Scaling, claim
from vqtheory.rules import VQ
from vqtheory.schedules import harmonic
from vqtheory.simulation.alive import optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Stream, Uniform

LAW = "stationary encoder"
LINE = Stream(Uniform(dim=1))
ROUNDING = 1e-11  # of the eigenvalues of a matrix with entries 1e4 times larger


def residual(codes: np.ndarray) -> float:
    """sum_k p_k (m_k - c_k)^2 for the uniform distribution, exactly."""
    codes = np.sort(codes.ravel())
    borders = np.concatenate([[0.0], (codes[1:] + codes[:-1]) / 2, [1.0]])
    return float(np.sum(np.diff(borders) * ((borders[1:] + borders[:-1]) / 2 - codes) ** 2))


def slow_mode(num_codes: int) -> tuple[float, np.ndarray]:
    """Rate and unit vector of the slowest mode of the mean motion p_k (m_k - c_k) about the optimum."""
    off = np.full(num_codes - 1, 1.0 / (4 * num_codes))
    diagonal = np.full(num_codes, 2.0 / (4 * num_codes))
    diagonal[[0, -1]] = 3.0 / (4 * num_codes) if num_codes > 1 else 1.0
    rates, modes = np.linalg.eigh(np.diag(diagonal) - np.diag(off, 1) - np.diag(off, -1))
    return float(rates[0]), modes[:, 0]


@claim(
    key="relaxation-rate-formula",
    statement="The stationary uniform quantizer relaxes at sin^2(pi / 2K) / K per unit of eta t (ratio, K = 8 to 128)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(1 - ROUNDING, 1 + ROUNDING),
)
def rate_ratios(effort: Effort, seed: int) -> list[float]:
    """The slowest rate over sin^2(pi / 2K) / K."""
    return [slow_mode(k)[0] * k / np.sin(np.pi / (2 * k)) ** 2 for k in (8, 16, 32, 64, 128)]


@claim(
    key="relaxation-rate",
    statement="Simulated relaxation of the slowest mode over its rate, K = 4, as eta -> 0",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Limit("step size", order=1),
    predict=1.0,
    resolution=0.2,
)
def relaxation(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Simulated rate over the slowest rate, K = 4, at three step sizes."""
    rate, mode = slow_mode(4)
    groups, runs = 16, 130 if effort == "quick" else 1000
    ratios = {}
    for step_size in (0.02, 0.01, 0.005):
        steps = round(1.0 / (rate * step_size))
        start = optimum(4) + 0.05 * mode[:, None]
        left = [amplitude(VQ(step_size), start, mode, steps, seed * 100_000 + i) for i in range(groups * runs)]
        means = np.mean(np.reshape(left, (groups, runs)), axis=1)
        ratios[step_size] = list(-np.log(means / 0.05) / (rate * step_size * steps))
    return ratios


def amplitude(rule: VQ, start: np.ndarray, mode: np.ndarray, steps: int, seed: int) -> float:
    """What is left of a perturbation along a mode."""
    return float(mode @ (follow(rule, LINE, start, steps, seed).codes - optimum(len(start))).ravel())


@claim(
    key="residual-falls-as-1/t",
    statement="With sum eta = inf and sum eta^2 < inf the residual goes to 0, as 1/t for c > 2K^3/pi^2 (exponent)",
    source=f"{PAPER}; rate derived here",
    law=LAW,
    strength="law",
    kind=Scaling("updates"),
    predict=-1.0,
    resolution=0.3,
)
def robbins_monro(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Exact residual after t updates with eta_t = 1/2 / (1 + t/100), K = 4: c = 50 is above 2K^3 / pi^2 = 13."""
    rule, replicates = VQ(harmonic(0.5, delay=100)), 160 if effort == "quick" else 1600
    marks = [10_000, 30_000, 100_000, 300_000]
    residuals: dict[float, list[float]] = {mark: [] for mark in marks}
    for i in range(replicates):
        for mark in marks:
            start = LINE.at(0, seed=seed * 1000 + i).sample(4)
            residuals[mark].append(residual(follow(rule, LINE, start, mark, seed * 1000 + i).codes))
    # a straight line through the logarithms of single runs would be biased: average first
    return {mark: list(np.mean(np.reshape(values, (16, -1)), axis=1)) for mark, values in residuals.items()}


@claim(
    key="starved-steps-are-slow",
    statement="With c below it the slow mode falls only as t^(-c pi^2/4K^3) (exponent, c = 4, K = 4)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Scaling("1 + t/delay"),
    predict=-4 * slow_mode(4)[0],
    resolution=0.05,
)
def starved(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Amplitude of the slow mode with eta_t = c / t, c = 4, K = 4, against 1 + t / delay."""
    rule, start_of_mode = VQ(harmonic(0.04, delay=100)), 0.03
    _, mode = slow_mode(4)
    start, (groups, runs) = optimum(4) + start_of_mode * mode[:, None], (16, 20) if effort == "quick" else (16, 100)
    amplitudes = {}
    for mark in (1_000, 10_000, 100_000):
        left = [amplitude(rule, start, mode, mark, seed * 10_000 + i) for i in range(groups * runs)]
        amplitudes[1 + mark / 100] = list(np.mean(np.reshape(left, (groups, runs)), axis=1))
    return amplitudes


CLAIMS = [rate_ratios, relaxation, robbins_monro, starved]
