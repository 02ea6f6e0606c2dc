"""Map rules at rest: TransVQ preserves k-means and SimVQ does not.

A codebook C = T_theta(C_0) that is trained by gradient descent moves along its tangent kernel,
Delta C = -eta Theta G with Theta = J J^T and G_k = p_k (c_k - m_k), and rests where J^T G = 0. Where Theta is
positive definite that is G = 0, a k-means solution. TransVQ with positions is so from width D + 2 on: its last
norm takes two directions from each code. SimVQ has D (D + 1) parameters, and rests where they cannot be improved.
Every run here is full-batch descent on a fixed sample of a normal law in the plane: nothing is left to noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from vqtheory.claims.statement import Claim, Effort, Exact, Range, Scaling
from vqtheory.measure import Cells, cells
from vqtheory.protocols import Batches
from vqtheory.rules import SimVQ, TransVQ
from vqtheory.theory import tangent_kernel

LAW = "map rules"
PAPER = "Lu et al., arXiv 2602.18896, made checkable here"
DERIVED = "derived here"
CODES, POINTS = 12, 120
ROUNDING = Range(0.0, 1e-14)


def kernel_of(rule: Any, num_codes: int, dim: int, seed: int) -> Any:
    """Theta where a run from a normal law starts."""
    codes = np.random.default_rng(seed).normal(size=(num_codes, dim))
    return tangent_kernel(rule, rule.init(codes, seed))


def trans(width: int, **options: Any) -> TransVQ:
    """A TransVQ that is trained by plain gradient descent."""
    return TransVQ(0.1, width=width, optimizer="sgd", **options)


def conditions(beyond: int) -> Callable[[Effort, int], list[float]]:
    """lambda_min / lambda_max of TransVQ of width D + beyond, D = 2, K = 32 and D = 3, K = 24."""

    def experiment(effort: Effort, seed: int) -> list[float]:
        found = []
        for i in range(3 if effort == "quick" else 20):
            for dim, num_codes in ((2, 32), (3, 24)):
                kernel = kernel_of(trans(dim + beyond), num_codes, dim, seed * 1000 + i)
                found.append(kernel.lambda_min / kernel.lambda_max)
        return found

    return experiment


def conditions_without_positions(effort: Effort, seed: int) -> list[float]:
    """lambda_min / lambda_max of TransVQ without positions, D = 2, K = 32."""
    kernels = [kernel_of(trans(32, positions=False), 32, 2, seed * 1000 + i) for i in range(2 if effort == "quick" else 20)]
    return [kernel.lambda_min / kernel.lambda_max for kernel in kernels]


def mean_steps(effort: Effort, seed: int) -> dict[float, list[float]]:
    """trace(Theta) / KD, the mean step of a code that wins over plain VQ's, against TransVQ's width."""
    replicates = 8 if effort == "quick" else 16
    return {
        width: [kernel_of(trans(width), 16, 2, seed * 1000 + i).trace / 32 for i in range(replicates)]
        for width in (32, 64, 128)
    }


def simvq_ranks(effort: Effort, seed: int) -> list[float]:
    """Rank of SimVQ's kernel less D min(K, D + 1), or less D min(K, D) without bias."""
    found = []
    for num_codes, dim, bias in ((3, 4, True), (12, 2, True), (12, 2, False), (20, 5, True), (20, 5, False)):
        rank = kernel_of(SimVQ(bias=bias), num_codes, dim, seed).rank
        found.append(float(rank - dim * min(num_codes, dim + bias)))
    return found


def sample(seed: int) -> np.ndarray:
    """The fixed points [N, 2]; the first K are the codes that a run starts from."""
    return np.random.default_rng(seed).normal(size=(POINTS, 2))


def rest(rule: Any, points: np.ndarray, updates: int, seed: int) -> tuple[np.ndarray, Cells, Any]:
    """The gradient G [K, D], the cells and the state after full-batch descent on the points."""
    state, batches = rule.init(points[:CODES], seed), Batches(np.broadcast_to(points, (100, *points.shape)))
    with threadpool_limits(1, user_api="blas"):
        for _ in range(updates // 100):
            state, _ = rule.advance(state, batches)
    found = cells(points, state.codes)
    return found.hits[:, None] / len(points) * (found.codes - found.centroids), found, state


Measure = Callable[[Any, np.ndarray, np.ndarray, Cells, Any], float]


def at_rest(rule: Any, updates: int, measure: Measure, quick: int = 4) -> Callable[[Effort, int], list[float]]:
    """A measure of where the rule comes to rest, sample by sample."""

    def experiment(effort: Effort, seed: int) -> list[float]:
        found = []
        for i in range(quick if effort == "quick" else 24):
            points = sample(seed * 1000 + i)
            found.append(measure(rule, points, *rest(rule, points, updates, seed * 1000 + i)))
        return found

    return experiment


def residual(rule: Any, points: np.ndarray, gradient: np.ndarray, found: Cells, state: Any) -> float:
    """|G|."""
    return float(np.linalg.norm(gradient))


def pulled(rule: Any, points: np.ndarray, gradient: np.ndarray, found: Cells, state: Any) -> float:
    """|J^T G|."""
    return float(np.linalg.norm(rule.pullback(state, gradient)))


def over_lloyd(rule: Any, points: np.ndarray, gradient: np.ndarray, found: Cells, state: Any) -> float:
    """Distortion over that of the best of 10 Lloyd runs."""
    from vqtheory.reference import lloyd

    return found.distortion / lloyd(points, CODES, restarts=10, seed=0).distortion


TRANS, TRANS_UPDATES = trans(32), 4000
SIM, SIM_UPDATES = SimVQ(0.5), 6000

CLAIMS = [
    Claim(
        "transvq-full-rank",
        "TransVQ's tangent kernel is positive definite from width D + 2 on (lambda_min / lambda_max at width D + 2)",
        PAPER,
        LAW,
        Exact(worst=True),
        lambda: Range(1e-10, 1.0),
        conditions(beyond=2),
        resolution=1.0,
    ),
    Claim(
        "transvq-needs-width",
        "One less than that leaves TransVQ's kernel singular up to rounding (lambda_min / lambda_max at width D + 1)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 1e-11),
        conditions(beyond=1),
        resolution=1e-11,
    ),
    Claim(
        "transvq-needs-positions",
        "Without positions TransVQ's kernel has full rank only in name in the plane (lambda_min / lambda_max, K = 32)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 1e-7),
        conditions_without_positions,
        resolution=1e-7,
    ),
    Claim(
        "transvq-step-grows-with-width",
        "TransVQ's mean step over plain VQ's, trace(Theta) / KD, grows in proportion to the width (exponent)",
        DERIVED,
        LAW,
        Scaling("width"),
        lambda: Range(0.9, 1.1),
        mean_steps,
        resolution=0.2,
    ),
    Claim(
        "simvq-rank",
        "SimVQ's kernel has rank D min(K, D + 1), D min(K, D) without bias (difference)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 0.0),
        simvq_ranks,
        resolution=0.0,
    ),
    Claim(
        "transvq-rests-at-k-means",
        "On a fixed sample TransVQ comes to rest at a k-means solution, up to rounding (|G|)",
        PAPER,
        LAW,
        Exact(worst=True),
        lambda: ROUNDING,
        at_rest(TRANS, TRANS_UPDATES, residual),
        resolution=1e-14,
    ),
    Claim(
        "simvq-rests",
        "On a fixed sample SimVQ comes to rest too (|J^T G|)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: ROUNDING,
        at_rest(SIM, SIM_UPDATES, pulled),
        resolution=1e-14,
    ),
    Claim(
        "simvq-rests-off-k-means",
        "At rest SimVQ is off k-means (|G|, for a spread of 1)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.03, 1.0),
        at_rest(SIM, SIM_UPDATES, residual),
        resolution=1.0,
    ),
    Claim(
        "transvq-distortion",
        "At rest TransVQ is as good as a run of Lloyd (distortion over the best of 10 Lloyd runs, mean, K = 12)",
        PAPER,
        LAW,
        Exact(),
        lambda: Range(0.9, 1.4),
        at_rest(TRANS, 2000, over_lloyd, quick=12),
        resolution=0.5,
    ),
    Claim(
        "simvq-distortion",
        "At rest SimVQ is far worse (distortion over the best of 10 Lloyd runs, mean, K = 12)",
        DERIVED,
        LAW,
        Exact(),
        lambda: Range(1.4, 2.8),
        at_rest(SIM, SIM_UPDATES, over_lloyd, quick=12),
        resolution=1.4,
    ),
]
