"""NSVQ on a stationary encoder: a bandwidth that stays holds the codes off k-means, one that shrinks does not.

Unit interval, uniform distribution, K = 4 unless said otherwise. The k-means codes are c_k = (2k - 1) / 2K. Their
displacement by the kernel solves H d = pull to first order, with H the Hessian of the distortion / 2 and the pull acting
on the two outermost codes alone: `edge_bias` for the gaussian form, `softmax_bias` for the softmax form.

In simulations the displacement is the difference to plain VQ on the same latents, whose mean is k-means: the noise
of the samples, common to both, cancels but for a few percent of the displacement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats

from vqtheory.claims.laws.provenance import DERIVED, PAPER
from vqtheory.claims.laws.stationary import LINE, residual, slow_mode
from vqtheory.claims.statement import Claim, Effort, Exact, Range, Scaling, claim
from vqtheory.protocols import Rule
from vqtheory.reference import lloyd_max
from vqtheory.reference.density import Density
from vqtheory.rules import NSVQ, VQ
from vqtheory.schedules import harmonic
from vqtheory.simulation.alive import optimum
from vqtheory.simulation.follow import follow
from vqtheory.theory import bias_bound, edge_bias, fixed_point, softmax_bias

LAW = "bias"
NUM_CODES, STEP_SIZE, BATCH = 4, 0.2, 128
BANDWIDTHS = (0.2, 0.14, 0.1, 0.07, 0.05, 0.035)  # half a gap is 0.125; the first two are simulated
NARROW = (0.02, 0.014, 0.01, 0.005)
FORMS = ("gaussian", "softmax")
ROUNDING = 1e-13  # of a fixed point's pulls
SLOPE_ROUNDING = 1e-6  # of log-log slopes, whose distances are above 1e-6: a power law's do not grow by more
CLOUDS = {"uniform": stats.uniform(), "normal": stats.norm()}


@cache
def fixed(form: str, bandwidth: float, num_codes: int = NUM_CODES, cloud: str = "uniform") -> np.ndarray:
    """The codes [K] at rest, from the k-means solution."""
    return fixed_point(NSVQ(STEP_SIZE, bandwidth, form=form), CLOUDS[cloud], lloyd_max(CLOUDS[cloud], num_codes).codes)


def displacement(form: str, bandwidth: float) -> np.ndarray:
    """The fixed point less k-means, [K]."""
    return fixed(form, bandwidth) - optimum(NUM_CODES)[:, 0]


def distance(form: str, bandwidth: float) -> float:
    """Its length."""
    return float(np.linalg.norm(displacement(form, bandwidth)))


def first_order(form: str, bandwidth: float) -> float:
    """The length of H^-1 pull."""
    if form == "gaussian":
        pull = edge_bias(bandwidth, radius=0.5 / NUM_CODES, reach=1 - 0.5 / NUM_CODES)
    else:
        pull = softmax_bias(bandwidth, NUM_CODES)
    off = np.full(NUM_CODES - 1, 0.25 / NUM_CODES)
    hessian = np.diag([0.75, *[0.5] * (NUM_CODES - 2), 0.75]) / NUM_CODES - np.diag(off, 1) - np.diag(off, -1)
    return float(np.linalg.norm(np.linalg.solve(hessian, [pull, *[0] * (NUM_CODES - 2), -pull])))


def slopes(form: str, bandwidths: Sequence[float] = BANDWIDTHS) -> np.ndarray:
    """d ln distance / d ln bandwidth between neighbours."""
    return np.diff(np.log([distance(form, s) for s in bandwidths])) / np.diff(np.log(bandwidths))


@claim(
    key="bias-bound",
    statement="NSVQ, gaussian form: |p (m - c)| at a fixed point is below kappa sup d exp(-d^2 / 2 sigma^2) (largest ratio)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 1.0),
)
def over_bound(effort: Effort, seed: int) -> list[float]:
    """The largest |p_j (m_j - c_j)| / bound at each fixed point, uniform and normal distribution."""
    ratios = []
    for cloud, unit in (("uniform", 1.0), ("normal", 3.0)):
        density = Density("bias", CLOUDS[cloud])
        for num_codes in (2, 4, 7) if effort == "quick" else (2, 4, 7, 12, 20):
            for bandwidth in np.geomspace(0.2, 1.5, 5) * unit / num_codes:  # wider ones make codes merge to rounding
                codes = np.sort(fixed("gaussian", float(bandwidth), num_codes, cloud))
                gaps = np.concatenate([[np.inf], np.diff(codes), [np.inf]])
                radii = np.minimum(gaps[1:], gaps[:-1]) / 2
                bounds = bias_bound(bandwidth, radii) + ROUNDING
                ratios.append(float(np.max(np.abs(density.cells(codes).pull) / bounds)))
    return ratios


@claim(
    key="bias-of-the-edge",
    statement="NSVQ, gaussian form: the outermost code has the bias kappa f sigma^2 exp(-r^2 / 2 sigma^2) (ratio)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(1 - 1e-9, 1 + 1e-9),
)
def over_edge(effort: Effort, seed: int) -> list[float]:
    """p_1 (c_1 - m_1) of the outermost code over `edge_bias` at its own r and R."""
    ratios = []
    for bandwidth in BANDWIDTHS:
        low, second = fixed("gaussian", bandwidth)[:2]
        border = (low + second) / 2
        ratios.append(border * (low - border / 2) / edge_bias(bandwidth, border - low, reach=1 - low))
    return ratios


@claim(
    key="bias-falls-faster-than-powers",
    statement="NSVQ, gaussian form: the distance from k-means falls faster than any power of the bandwidth (growth of "
    "slope)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(SLOPE_ROUNDING, math.inf),
)
def growth_of_slopes(effort: Effort, seed: int) -> list[float]:
    """By how much each slope of the gaussian form exceeds the one at wider bandwidths."""
    return list(np.diff(slopes("gaussian")))


@claim(
    key="bias-first-order",
    statement="NSVQ: the distance from k-means is what the pulls on the outermost codes give to first order (ratio, both "
    "forms, to 1 %)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.99, 1.01),
)
def over_first_order(effort: Effort, seed: int) -> list[float]:
    """Distance over its first order, both forms, at bandwidths at which the next order is below 1 %."""
    pairs = [("gaussian", s) for s in BANDWIDTHS[4:]] + [("softmax", s) for s in NARROW]
    return [distance(*pair) / first_order(*pair) for pair in pairs]


@claim(
    key="bias-linear-in-tau",
    statement="NSVQ, softmax form: the distance from k-means falls as tau, bandwidth squared (log-log slope in the "
    "bandwidth, to 1 %)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(1.98, 2.02),
)
def softmax_slopes(effort: Effort, seed: int) -> list[float]:
    """Of the softmax form, against the bandwidth."""
    return list(slopes("softmax", NARROW))


def at_rest(rule: Rule, seed: int) -> np.ndarray:
    """The codes [K], averaged over 10 times after 10 relaxation times of the slowest mode, 2 of these apart."""
    relaxation = 1 / (STEP_SIZE * slow_mode(NUM_CODES)[0])
    codes, done, records = optimum(NUM_CODES), 0, []
    for steps in [math.ceil(10 * relaxation)] + 10 * [math.ceil(2 * relaxation)]:
        codes = follow(rule, LINE, codes, steps, seed, BATCH, start=done).codes
        done += steps
        records.append(codes[:, 0])
    return np.mean(records[1:], axis=0)


def simulated(form: str, bandwidth: float, effort: Effort, seed: int) -> list[float]:
    """Simulated displacement along the fixed point's, over its length."""
    rule, plain, towards = NSVQ(STEP_SIZE, bandwidth, form=form), VQ(STEP_SIZE), displacement(form, bandwidth)
    ratios = []
    for i in range(seed * 1000, seed * 1000 + (16 if effort == "quick" else 100)):
        off = at_rest(rule, i) - at_rest(plain, i)
        ratios.append(float(off @ towards / (towards @ towards)))
    return ratios


def simulated_of(form: str, bandwidth: float) -> Claim:
    """The claim that a simulation comes to rest at the fixed point."""

    @claim(
        key=f"bias-simulated-{form}-{bandwidth:g}",
        statement=f"NSVQ, {form} form, bandwidth {bandwidth:g}: simulated displacement from k-means over the fixed point's",
        source=DERIVED,
        law=LAW,
        strength="law",
        predict=1.0,
        resolution=0.25,
    )
    def displacements(effort: Effort, seed: int) -> list[float]:
        return simulated(form, bandwidth, effort, seed)

    return displacements


def contraction() -> float:
    """Standard deviation of the codes at the fixed point of a bandwidth of 0.3, over that of k-means."""
    return float(np.std(fixed("gaussian", 0.3)) / np.std(optimum(NUM_CODES)))


@claim(
    key="bandwidth-that-stays-contracts",
    statement="NSVQ with a bandwidth of 0.3 that never shrinks contracts the codebook (spread over that of k-means)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=contraction,
    resolution=0.05,
)
def spread_ratios(effort: Effort, seed: int) -> list[float]:
    """Simulated standard deviation of the codes at a bandwidth of 0.3 that never shrinks, over that of k-means."""
    rule, runs = NSVQ(STEP_SIZE, 0.3), 12 if effort == "quick" else 100
    return [float(np.std(at_rest(rule, seed * 1000 + i)) / np.std(optimum(NUM_CODES))) for i in range(runs)]


@claim(
    key="nsvq-converges-to-k-means",
    statement="NSVQ with a bandwidth that shrinks converges to k-means: the residual goes to 0, as 1/t (exponent)",
    source=f"{PAPER}; rate derived here",
    law=LAW,
    strength="law",
    kind=Scaling("updates"),
    predict=-1.0,
    resolution=0.5,
)
def annealed(effort: Effort, seed: int) -> dict[float, list[float]]:
    """Exact residual after t updates, eta_t = 1/2 / (1 + t/100) and sigma_t = 1 / (1 + t/100)."""
    rule = NSVQ(harmonic(0.5, delay=100), bandwidth=harmonic(1.0, delay=100))
    groups, runs = 16, 16 if effort == "quick" else 100
    residuals = {}
    for mark in (3_000, 10_000, 30_000):
        left = [residual(follow(rule, LINE, optimum(4) / 2, mark, seed * 10_000 + i).codes) for i in range(groups * runs)]
        residuals[float(mark)] = list(np.mean(np.reshape(left, (groups, runs)), axis=1))
    return residuals


CLAIMS = [
    over_bound,
    over_edge,
    growth_of_slopes,
    softmax_slopes,
    over_first_order,
    *(simulated_of(form, bandwidth) for form in FORMS for bandwidth in BANDWIDTHS[:2]),
    spread_ratios,
    annealed,
]
