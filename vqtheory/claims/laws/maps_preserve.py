"""Map rules at rest: TransVQ preserves k-means and SimVQ does not.

A codebook C = T_theta(C_0) that is trained by gradient descent moves along its tangent kernel,
Delta C = -eta Theta G with Theta = J J^T and G_k = p_k (c_k - m_k), and rests where J^T G = 0. Where Theta is
positive definite that is G = 0, a k-means solution. TransVQ with positions is so from width D + 2 on: its last
norm takes two directions from each code. SimVQ has D (D + 1) parameters, and rests where they cannot be improved.
Every run here is full-batch descent on a fixed sample of a normal distribution in the plane: nothing is left to noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from vqtheory.claims.laws.provenance import DERIVED, OBSERVED, PAPER, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, Scaling, claim
from vqtheory.measure import Cells, cells
from vqtheory.protocols import Batches, Rule
from vqtheory.reference import lloyd
from vqtheory.rules import SimVQ, TransVQ
from vqtheory.theory import tangent_kernel
from vqtheory.theory.maps import TangentKernel

LAW = "map rules"
CHECKABLE = f"{PAPER}, made checkable here"
CODES, POINTS = 12, 120
ROUNDING = 1e-14  # of |G| and |J^T G|
SINGULAR = 1e-11  # lambda_min / lambda_max that is rounding and no more


def trans(width: int, **options: Any) -> TransVQ:
    """A TransVQ that is trained by plain gradient descent."""
    return TransVQ(0.1, width=width, optimizer="sgd", **options)


TRANS, TRANS_UPDATES = trans(32), 4000
SIM, SIM_UPDATES = SimVQ(0.5), 6000


def kernel_of(rule: Rule, num_codes: int, dim: int, seed: int) -> TangentKernel:
    """Theta where a run from a normal distribution starts."""
    codes = np.random.default_rng(seed).normal(size=(num_codes, dim))
    return tangent_kernel(rule, rule.init(codes, seed))


def conditions(beyond: int, effort: Effort, seed: int) -> list[float]:
    """lambda_min / lambda_max of TransVQ of width D + beyond, D = 2, K = 32 and D = 3, K = 24."""
    ratios = []
    for i in range(3 if effort == "quick" else 20):
        for dim, num_codes in ((2, 32), (3, 24)):
            kernel = kernel_of(trans(dim + beyond), num_codes, dim, seed * 1000 + i)
            ratios.append(kernel.lambda_min / kernel.lambda_max)
    return ratios


@claim(
    key="transvq-full-rank",
    statement="TransVQ's tangent kernel is positive definite from width D + 2 on (lambda_min / lambda_max at width D + 2)",
    source=CHECKABLE,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(SINGULAR, 1.0),
)
def conditions_of_wide(effort: Effort, seed: int) -> list[float]:
    """lambda_min / lambda_max at width D + 2."""
    return conditions(2, effort, seed)


@claim(
    key="transvq-needs-width",
    statement="One less than that leaves TransVQ's kernel singular up to rounding (lambda_min / lambda_max at width D + 1)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, SINGULAR),
)
def conditions_of_narrow(effort: Effort, seed: int) -> list[float]:
    """lambda_min / lambda_max at width D + 1."""
    return conditions(1, effort, seed)


@claim(
    key="transvq-needs-positions",
    statement="Without positions TransVQ's kernel has full rank only in name in the plane (lambda_min / lambda_max, K = 32)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.0, 1e-7),
    seen=SEEN,
)
def conditions_without_positions(effort: Effort, seed: int) -> list[float]:
    """lambda_min / lambda_max of TransVQ without positions, D = 2, K = 32."""
    kernels = [kernel_of(trans(32, positions=False), 32, 2, seed * 1000 + i) for i in range(2 if effort == "quick" else 20)]
    return [kernel.lambda_min / kernel.lambda_max for kernel in kernels]


@claim(
    key="transvq-step-grows-with-width",
    statement="TransVQ's mean step over plain VQ's, trace(Theta) / KD, grows in proportion to the width (exponent, to 0.1)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Scaling("width"),
    predict=Range(0.9, 1.1),
    seen=SEEN,
)
def mean_steps(effort: Effort, seed: int) -> dict[float, list[float]]:
    """trace(Theta) / KD, the mean step of a code that wins over plain VQ's, against TransVQ's width.

    The last map alone gives each code's squared norm before it, which the last norm has made equal to the width.
    """
    replicates = 8 if effort == "quick" else 16
    return {
        width: [kernel_of(trans(width), 16, 2, seed * 1000 + i).trace / 32 for i in range(replicates)]
        for width in (32, 64, 128)
    }


@claim(
    key="simvq-rank",
    statement="SimVQ's kernel has rank D min(K, D + 1), D min(K, D) without bias (difference)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def simvq_ranks(effort: Effort, seed: int) -> list[float]:
    """Rank of SimVQ's kernel less D min(K, D + 1), or less D min(K, D) without bias."""
    differences = []
    for num_codes, dim, bias in ((3, 4, True), (12, 2, True), (12, 2, False), (20, 5, True), (20, 5, False)):
        rank = kernel_of(SimVQ(bias=bias), num_codes, dim, seed).rank
        assert rank is not None
        differences.append(float(rank - dim * min(num_codes, dim + bias)))
    return differences


class Rest(NamedTuple):
    """Where full-batch descent on fixed points has come to."""

    points: np.ndarray  # [N, 2]
    cells: Cells
    gradient: np.ndarray  # G, [K, 2]
    state: Any


def sample(seed: int) -> np.ndarray:
    """The fixed points [N, 2]; the first K are the codes that a run starts from."""
    return np.random.default_rng(seed).normal(size=(POINTS, 2))


def rest(rule: Rule, updates: int, seed: int) -> Rest:
    """Where the rule comes to rest on the points of a seed."""
    points = sample(seed)
    state, batches = rule.init(points[:CODES], seed), Batches(np.broadcast_to(points, (100, *points.shape)))
    with threadpool_limits(1, user_api="blas"):
        for _ in range(updates // 100):
            state, _ = rule.advance(state, batches)
    won = cells(points, state.codes)
    return Rest(points, won, won.hits[:, None] / len(points) * (won.codes - won.centroids), state)


def rests(rule: Rule, updates: int, effort: Effort, seed: int, quick: int = 4) -> Iterator[Rest]:
    """The same for several samples."""
    return (rest(rule, updates, seed * 1000 + i) for i in range(quick if effort == "quick" else 24))


def over_lloyd(end: Rest) -> float:
    """Distortion over that of the best of 10 Lloyd runs."""
    return end.cells.distortion / lloyd(end.points, CODES, restarts=10, seed=0).distortion


@claim(
    key="transvq-rests-at-k-means",
    statement="On a fixed sample TransVQ comes to rest at a k-means solution, up to rounding (|G|)",
    source=CHECKABLE,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, ROUNDING),
)
def transvq_gradients(effort: Effort, seed: int) -> list[float]:
    """|G| of TransVQ at rest."""
    return [float(np.linalg.norm(end.gradient)) for end in rests(TRANS, TRANS_UPDATES, effort, seed)]


@claim(
    key="simvq-rests",
    statement="On a fixed sample SimVQ comes to rest too (|J^T G|)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, ROUNDING),
)
def simvq_pulls(effort: Effort, seed: int) -> list[float]:
    """|J^T G| of SimVQ at rest."""
    ends = rests(SIM, SIM_UPDATES, effort, seed)
    return [float(np.linalg.norm(SIM.pullback(end.state, end.gradient))) for end in ends]


@claim(
    key="simvq-rests-off-k-means",
    statement="At rest SimVQ is off k-means (|G|, for a spread of 1)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.03, 1.0),
    seen=SEEN,
)
def simvq_gradients(effort: Effort, seed: int) -> list[float]:
    """|G| of SimVQ at rest."""
    return [float(np.linalg.norm(end.gradient)) for end in rests(SIM, SIM_UPDATES, effort, seed)]


@claim(
    key="transvq-distortion",
    statement="At rest TransVQ is as good as a run of Lloyd (distortion over the best of 10 Lloyd runs, mean, K = 12)",
    source=CHECKABLE,
    law=LAW,
    strength="description",
    predict=Range(0.9, 1.4),
    seen=SEEN,
)
def transvq_distortions(effort: Effort, seed: int) -> list[float]:
    """Distortion of TransVQ at rest over Lloyd's."""
    return [over_lloyd(end) for end in rests(TRANS, 2000, effort, seed, quick=12)]


@claim(
    key="simvq-distortion",
    statement="At rest SimVQ is far worse (distortion over the best of 10 Lloyd runs, mean, K = 12)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    predict=Range(1.4, 2.8),
    seen=SEEN,
)
def simvq_distortions(effort: Effort, seed: int) -> list[float]:
    """Distortion of SimVQ at rest over Lloyd's."""
    return [over_lloyd(end) for end in rests(SIM, SIM_UPDATES, effort, seed, quick=12)]


CLAIMS = [
    conditions_of_wide,
    conditions_of_narrow,
    conditions_without_positions,
    mean_steps,
    simvq_ranks,
    transvq_gradients,
    simvq_pulls,
    simvq_gradients,
    transvq_distortions,
    simvq_distortions,
]
