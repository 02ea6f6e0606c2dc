"""A stationary encoder: how near every rule comes to a k-means solution, and how fast.

The residual R(C) = sum_k p_k |m_k - c_k|^2, which is 0 exactly at a k-means solution, and the
distortion over the least one, against the number of updates (Lu et al., arXiv 2602.18896, which
says of VQ, NSVQ and TransVQ that they converge to k-means). Both are exact: in one dimension by
quadrature of the density, on patches of a photograph by summing over the 10,000 patches that are
the distribution. In one dimension the k-means solution is unique. On patches there are many, R goes
to 0 at each of them and the distortion over the best one does not go to 1; `settled` says where
Lloyd's algorithm ends from the same codes.

How fast, in one dimension: near the optimum C* the mean motion is dC/dt = -eta_t H (C - C*), with H the
Hessian of the distortion / 2. With steps eta_t = c / t, the part of C - C* along an eigenvalue
lambda fades as t^(-c lambda), and the samples' noise keeps its square at order 1/t. So R and the
excess distortion fall as

    t^(-min(1, 2 c lambda_1)),      lambda_1 the least eigenvalue, near pi^2 / (4 K^3) for Uniform(1).

For K = 8 that asks for c > 105 (uniform) or 116 (Gaussian), and the rules here have c = 259. Counting
by wins (MacQueen) is c = K = 8: in the limit an exponent of 0.08, and 0.1 to 0.2 at 100,000 updates, where
faster modes still fade. For the Laplace density and even K lambda_1 is 0 (its tails look the same from
wherever they are cut, so that moving the middle border costs nothing to second order): no c brings the
excess down as 1/t.

Rules take the same codes to start from and steps that move a code of average mass as far: EMA has the
decay 1 - eta_t / K, and SimVQ with bias, whose tangent kernel has twice the trace, half the step.
NSVQ's bandwidth starts at the spread of the cloud and shrinks as 1/t, and so do the ranges of neural gas and of the SOM and
the bias of the conscience; the mean and the spread of a frame and of Wasserstein's pull are of a thousand updates.
CVQ, FSCL, Sinkhorn and EntropyVQ keep what takes them beside k-means. A stationary encoder has no
drift to be passed on, and NSVQ's propagate form is VQ to the bit. TransVQ is trained by Adam, which
does not slow down by itself: its steps fall as 1/t too. CosineVQ knows directions only; it is run on
patches, and measured on the unit sphere: its centroids are directions of means, its optimum is the
optimum of the patches' directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import linalg

import vqtheory as vq
from simulations.lineup import LINEUP, ordered
from simulations.tables import run_all
from vqtheory.protocols import Rule
from vqtheory.reference.density import Density
from vqtheory.rules import (
    CVQ,
    EMA,
    FSCL,
    NSVQ,
    SOM,
    VQ,
    Affine,
    Conscience,
    CosineVQ,
    EntropyVQ,
    NeuralGas,
    Reestimate,
    Replacement,
    SimVQ,
    Sinkhorn,
    TransVQ,
    Wasserstein,
)
from vqtheory.rules.base import projects
from vqtheory.schedules import harmonic
from vqtheory.streams import Distribution, Gaussian, Latents, Patches, Stream, Uniform

DENSITIES = {"uniform": Uniform(dim=1), "Gaussian": Gaussian(dim=1), "Laplace": Distribution("laplace")}
DISTRIBUTIONS = (*DENSITIES, "patches")
NUM_CODES = {"uniform": 8, "Gaussian": 8, "Laplace": 8, "patches": 32}
BATCH, WINDOWS = 32, 10_000
UPDATES, UPDATES_FAST = 100_000, 10_000
SEEDS, SEEDS_OF_SLOW, SEEDS_FAST = 16, 3, 1  # slow: TransVQ, and all rules on patches
RESTARTS, RESTARTS_FAST = 20, 3
RECORDS = 10  # of a run; there is one run for each decade of updates


class Truth(NamedTuple):
    """How codes are measured under a distribution: residual and distortion, and the least distortion."""

    measure: Callable[[np.ndarray], tuple[float, float]]
    least: float
    settle: Callable[[np.ndarray], np.ndarray] | None = None  # Lloyd's algorithm, where there are many solutions


def run(fast: bool = False) -> pl.DataFrame:
    """The table, one row per distribution, rule, seed and record."""
    updates, restarts = (UPDATES_FAST, RESTARTS_FAST) if fast else (UPDATES, RESTARTS)
    tasks = [
        (name, rule, seed, updates, restarts, follower)
        for name in DISTRIBUTIONS
        for rule, follower in ordered(rules(name))
        for seed in range(seeds_of(name, rule, fast))
    ]
    return run_all(simulate, sorted(tasks, key=lambda task: not is_slow(task[1])), "convergence")  # the longest first


def seeds_of(name: str, rule: str, fast: bool) -> int:
    """How many runs: slopes are read off means over them."""
    return SEEDS_FAST if fast else SEEDS_OF_SLOW if name == "patches" or is_slow(rule) else SEEDS


def is_slow(rule: str) -> bool:
    """Whether an update takes much longer than one of VQ."""
    return LINEUP[rule].family == "TransVQ"


def simulate(name: str, rule: str, seed: int, updates: int, restarts: int, follower: Rule) -> list[dict]:
    """The records of one rule under one distribution, at log-spaced updates."""
    source = DENSITIES[name] if name in DENSITIES else Latents(windows())
    truth = truth_of(name, projects(follower), restarts)
    rows = []
    for first, last in decades(updates):

        def on_record(step: int, codes: np.ndarray, row: dict, first: int = first) -> None:
            if step > first:
                rows.append({"step": step} | describe(codes, truth, ends=step in (0, updates)))

        vq.simulate(
            follower, Stream(source), codes=NUM_CODES[name], steps=last, batch_size=BATCH,
            seed=seed, records=RECORDS, progress=False, on_record=on_record,
        )  # fmt: skip
    return [{"distribution": name, "rule": rule, "seed": seed} | row for row in rows]


def decades(updates: int) -> list[tuple[int, int]]:
    """Runs (first, last): each is recorded after its first update, in equal parts, up to its last."""
    ends = [updates // 10**power for power in range(int(math.log10(updates)) - 1, -1, -1)]
    return list(zip([-1, *ends], ends, strict=False))


def rules(name: str) -> dict[str, Rule]:
    """Every rule that is run on a distribution, with steps that fall as c / t once they have begun to fall.

    On a density c is 2.5 times what the uniform one needs; on patches nobody knows what is needed, and
    c is the one of 1,000, 4,000 and 16,000 that leaves the least residual. CosineVQ needs two dimensions.
    """
    num_codes, dim = NUM_CODES[name], 1 if name in DENSITIES else 16
    start, c = (0.5, 2.5 * 2 * num_codes**3 / math.pi**2) if name in DENSITIES else (2.0, 4000.0)
    step, half = harmonic(start, c / start), harmonic(start / 2, c / start)
    bandwidth = harmonic(spread(name) * math.sqrt(dim), 100)
    only_on_patches: dict[str, Rule] = {} if name in DENSITIES else {"CosineVQ": CosineVQ(step)}
    return only_on_patches | {
        "VQ": VQ(step),
        "VQ by wins": VQ(harmonic(1.0), clock="wins"),
        "EMA": EMA(lambda t: 1 - step(t) / num_codes),
        "EMA with expiry": Replacement(EMA(lambda t: 1 - step(t) / num_codes)),
        "NSVQ gaussian": NSVQ(step, bandwidth),
        "NSVQ softmax": NSVQ(step, bandwidth, form="softmax"),
        "NSVQ propagate": NSVQ(step, bandwidth, form="propagate"),
        "CVQ": CVQ(step),
        "NeuralGas": NeuralGas(half, harmonic(4.0, 100)),
        "SOM": SOM(half, harmonic(2.0, 100)),
        "FSCL": FSCL(step),
        "Conscience": Conscience(step, harmonic(spread(name), 100)),
        "Sinkhorn": Sinkhorn(step),
        "EntropyVQ": EntropyVQ(step),
        "VQ in a frame": Affine(VQ(step), decay=0.999),
        "VQ with Wasserstein's pull": Wasserstein(VQ(step), decay=0.999),
        "VQ re-estimated": Reestimate(VQ(step)),
        "TransVQ": TransVQ(harmonic(3e-3, 1000), width=64),
        "SimVQ": SimVQ(half),
        "SimVQ without bias": SimVQ(step, bias=False),
    }


@cache
def windows() -> np.ndarray:
    """Patches of the photograph, 4x4 pixels, [N, 16]: as latents, each as likely as any other."""
    return Patches().sample(np.random.default_rng(7), WINDOWS)


def spread(name: str) -> float:
    """Root mean square distance from the mean, per coordinate."""
    if name in DENSITIES:
        return float(DENSITIES[name].distribution().std())
    return float(np.sqrt(windows().var(axis=0).mean()))


def describe(codes: np.ndarray, truth: Truth, ends: bool) -> dict[str, float | None]:
    """One row: residual, distortion over the least, and at the ends of a run where Lloyd's algorithm takes the codes."""
    residual, distortion = truth.measure(codes)
    settled = truth.measure(truth.settle(codes))[1] / truth.least if ends and truth.settle else None
    return {"residual": residual, "ratio": distortion / truth.least, "settled": settled}


@cache
def truth_of(name: str, on_sphere: bool, restarts: int) -> Truth:
    """In one dimension the exact optimum, on patches the best of many runs of Lloyd's algorithm."""
    if name in DENSITIES:
        distribution = DENSITIES[name].distribution()
        density = Density("convergence", distribution)
        return Truth(lambda codes: exact(density, codes), vq.reference.lloyd_max(distribution, NUM_CODES[name]).distortion)
    project = CosineVQ().project if on_sphere else lambda latents: latents
    points = project(windows())
    best = settle(points, project(vq.reference.lloyd(points, NUM_CODES[name], restarts).codes), project)
    return Truth(
        lambda codes: of_points(points, codes, project),
        of_points(points, best, project)[1],
        lambda codes: settle(points, codes, project),
    )


def exact(density: Density, codes: np.ndarray) -> tuple[float, float]:
    """Residual and distortion of codes [K, 1] under a density, to rounding."""
    cells = density.cells(np.sort(codes[:, 0]))
    alive = cells.mass > 0
    return float(np.sum(cells.pull[alive] ** 2 / cells.mass[alive])), cells.distortion


def of_points(points: np.ndarray, codes: np.ndarray, project: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Residual and distortion of codes where the points are the distribution.

    `project` takes means to where codes may be.
    """
    cells = vq.measure.cells(points, codes)
    offset = project(cells.centroids) - codes
    return float(cells.hits @ np.sum(offset**2, axis=1) / len(points)), cells.distortion


def settle(points: np.ndarray, codes: np.ndarray, project: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Lloyd's algorithm until the codes rest: on these patches after 200 to 300 steps."""
    while True:  # ends: the distortion falls at every step, and there are finitely many partitions
        moved = project(vq.measure.cells(points, codes).centroids)
        if np.allclose(moved, codes, rtol=0, atol=1e-9):
            return moved
        codes = moved


def relaxation_rate(name: str) -> float:
    """lambda_1 at the optimum of a density: the Hessian is tridiagonal, p_k less the coupling to the codes beside."""
    distribution = DENSITIES[name].distribution()
    density = Density("convergence", distribution)
    codes = vq.reference.lloyd_max(distribution, NUM_CODES[name]).codes[:, 0]
    coupling = density.pdf((codes[1:] + codes[:-1]) / 2) * np.diff(codes) / 4
    diagonal = density.cells(codes).mass - np.append(coupling, 0) - np.append(0, coupling)
    return float(linalg.eigvalsh_tridiagonal(diagonal, -coupling)[0])


def slope(rows: pl.DataFrame, value: pl.Expr) -> float:
    """The log-log slope of a value's mean over the seeds, over the last factor 10 of the updates."""
    last = rows.filter(pl.col("step") >= pl.col("step").max() // 10).group_by("step").agg(value.mean().alias("value"))
    last = last.filter(pl.col("value") > 0)
    return float(np.polyfit(np.log(last["step"]), np.log(last["value"]), 1)[0])
