"""A standing encoder: the online rule reaches a k-means solution, and how slowly.

On the unit interval with a uniform law the optimum is c_k = (2k - 1) / 2K, and the mean motion
relaxes to it at the rate pi^2 / 4K^3 per unit of eta t, slowest in the mode cos(pi (k - 1/2) / K).
"""

from __future__ import annotations

import numpy as np

from vqtheory.claims.statement import Claim, Effort, Exact, Limit, Range, Scaling
from vqtheory.rules import VQ
from vqtheory.schedules import harmonic
from vqtheory.simulation.follow import follow
from vqtheory.streams import Stream, Uniform

LAW = "standing encoder"
DERIVED = "derived here"
LINE = Stream(Uniform(dim=1))


def optimum(num_codes: int) -> np.ndarray:
    """The k-means solution of the uniform law, [K, 1]."""
    return ((2 * np.arange(num_codes) + 1) / (2 * num_codes))[:, None]


def residual(codes: np.ndarray) -> float:
    """sum_k p_k (m_k - c_k)^2 on the uniform law, exactly."""
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


def rate_ratios(effort: Effort, seed: int) -> list[float]:
    """The slowest rate over pi^2 / 4K^3."""
    return [slow_mode(k)[0] * 4 * k**3 / np.pi**2 for k in (8, 16, 32, 64, 128)]


def relaxation(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Simulated rate over the slowest rate, K = 4, at three step sizes."""
    rate, mode = slow_mode(4)
    groups, runs = 16, 130 if effort == "quick" else 1000
    found = {}
    for step_size in (0.02, 0.01, 0.005):
        steps = round(1.0 / (rate * step_size))
        start = optimum(4) + 0.05 * mode[:, None]
        left = [amplitude(VQ(step_size), start, mode, steps, seed * 100_000 + i) for i in range(groups * runs)]
        means = np.mean(np.reshape(left, (groups, runs)), axis=1)
        found[step_size] = list(-np.log(means / 0.05) / (rate * step_size * steps))
    return found


def amplitude(rule: VQ, start: np.ndarray, mode: np.ndarray, steps: int, seed: int) -> float:
    """What is left of a perturbation along a mode."""
    return float(mode @ (follow(rule, LINE, start, steps, seed).codes - optimum(len(start))).ravel())


def robbins_monro(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Exact residual after t updates with eta_t = 1/2 / (1 + t/100), K = 4: c = 50 is above 2K^3 / pi^2 = 13."""
    rule, replicates = VQ(harmonic(0.5, delay=100)), 160 if effort == "quick" else 1600
    marks = [10_000, 30_000, 100_000, 300_000]
    found: dict[float, list[float]] = {mark: [] for mark in marks}
    for i in range(replicates):
        for mark in marks:
            start = LINE.at(0, seed=seed * 1000 + i).sample(4)
            found[mark].append(residual(follow(rule, LINE, start, mark, seed * 1000 + i).codes))
    # a straight line through the logarithms of single runs would be biased: average first
    return {mark: list(np.mean(np.reshape(values, (16, -1)), axis=1)) for mark, values in found.items()}


def starved(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Amplitude of the slow mode with eta_t = c / t, c = 4, K = 4, against 1 + t / delay."""
    rule, start_of_mode = VQ(harmonic(0.04, delay=100)), 0.03
    _, mode = slow_mode(4)
    start, (groups, runs) = optimum(4) + start_of_mode * mode[:, None], (16, 20) if effort == "quick" else (16, 100)
    found = {}
    for mark in (1_000, 10_000, 100_000):
        left = [amplitude(rule, start, mode, mark, seed * 10_000 + i) for i in range(groups * runs)]
        found[1 + mark / 100] = list(np.mean(np.reshape(left, (groups, runs)), axis=1))
    return found


CLAIMS = [
    Claim(
        "relaxation-rate-formula",
        "The standing uniform quantizer relaxes at pi^2 / 4K^3 per unit of eta t (ratio, K = 8 to 128)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.98, 1.0),
        rate_ratios,
        resolution=0.02,
    ),
    Claim(
        "relaxation-rate",
        "Simulated relaxation of the slowest mode over its rate, K = 4, as eta -> 0",
        DERIVED,
        LAW,
        Limit("step size", order=1),
        lambda: 1.0,
        relaxation,
        resolution=0.2,
    ),
    Claim(
        "residual-falls-as-1/t",
        "With sum eta = inf and sum eta^2 < inf the residual goes to 0, as 1/t for c > 2K^3/pi^2 (exponent)",
        "Lu et al., arXiv 2602.18896; rate derived here",
        LAW,
        Scaling("updates"),
        lambda: -1.0,
        robbins_monro,
        resolution=0.3,
    ),
    Claim(
        "starved-steps-are-slow",
        "With c below it the slow mode falls only as t^(-c pi^2/4K^3) (exponent, c = 4, K = 4)",
        DERIVED,
        LAW,
        Scaling("1 + t/delay"),
        lambda: -4 * slow_mode(4)[0],
        starved,
        resolution=0.05,
    ),
]
