"""What each map rule can move, and where it comes to rest: the spectrum of its tangent kernel, and |G| in a run.

The points are fixed, 160 from a normal distribution in the plane; 16 codes are trained on all of them at every update
by gradient descent, C = T_theta(C_0), with the kernel Theta = J J^T and G_k = p_k (c_k - m_k). A rule rests where
J^T G = 0. That is a k-means solution, G = 0, where all 32 eigenvalues of Theta are positive, as for TransVQ with
positions and for FVQ; without positions, and for a graph whose codes have like neighbours, most are so small that the same
number of updates does not get there; SimVQ has as many as parameters, 6 or 4, and GRITVQ 4. Eigenvalues and gains are at
equal trace: over their mean, so that plain VQ has 1 throughout. One row per rule, seed and rank of an eigenvalue, with the
gains, and one per rule, seed and update.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl

from simulations.lineup import in_order
from simulations.tables import run_all
from vqtheory import Batches
from vqtheory.measure import cells
from vqtheory.reference import lloyd
from vqtheory.rules import FVQ, GRITVQ, GraphVQ, SimVQ, TransVQ
from vqtheory.rules.maps import MapRule
from vqtheory.theory import tangent_kernel

CODES, POINTS = 16, 160
UPDATES, UPDATES_FAST = 100_000, 10_000
SEEDS, SEEDS_FAST = 5, 2
RECORDS = 60
GAINS = ("shift_gain", "scaling_gain")
RULES: dict[str, MapRule] = {  # each with a step that its kernel's largest eigenvalue can stand
    "TransVQ": TransVQ(0.1, width=32, optimizer="sgd"),
    "TransVQ without positions": TransVQ(0.02, width=32, positions=False, optimizer="sgd"),
    "FVQ": FVQ(0.03, patch=2, width=32, optimizer="sgd"),
    "FVQ residual": FVQ(0.1, patch=2, width=32, residual=True, optimizer="sgd"),
    "GraphVQ": GraphVQ(0.5, width=32, optimizer="sgd"),
    "SimVQ": SimVQ(0.5),
    "SimVQ without bias": SimVQ(0.5, bias=False),
    "GRITVQ": GRITVQ(0.5, decoder=0),
}


def run(fast: bool = False) -> pl.DataFrame:
    """The table, with nulls where a row is of the other kind."""
    seeds, updates = (SEEDS_FAST, UPDATES_FAST) if fast else (SEEDS, UPDATES)
    return run_all(simulate, [(*run, RULES[run[0]]) for run in product(in_order(RULES), range(seeds), [updates])], "tangent")


def simulate(name: str, seed: int, updates: int, follower: MapRule) -> list[dict]:
    """The spectrum at the start of one run, and its residuals."""
    points = np.random.default_rng(seed).normal(size=(POINTS, 2))
    task = {"rule": name, "seed": seed}
    rows = [task | row for row in spectrum(follower, points, seed)]
    nothing = dict.fromkeys(["rank", "eigenvalue", *GAINS])
    return rows + [task | nothing | row for row in descend(follower, points, seed, updates)]


def spectrum(rule: MapRule, points: np.ndarray, seed: int) -> list[dict]:
    """Eigenvalues of the tangent kernel at the start, in descending order, and its gains, over the mean eigenvalue."""
    kernel = tangent_kernel(rule, rule.init(points[:CODES], seed))
    assert kernel.eigenvalues is not None
    mean = kernel.trace / points[:CODES].size
    gains = {name: getattr(kernel, name) / mean for name in GAINS}
    values = np.maximum(kernel.eigenvalues[::-1], 0) / mean
    return [{"rank": rank, "eigenvalue": float(value), **gains} for rank, value in enumerate(values, start=1)]


def descend(rule: MapRule, points: np.ndarray, seed: int, updates: int) -> list[dict]:
    """|G|, |J^T G| and the distortion over the best of 30 Lloyd runs, at updates evenly spaced on a log axis."""
    best = lloyd(points, CODES, restarts=30, seed=0).distortion
    state, rows, done = rule.init(points[:CODES], seed), [], 0
    for update in np.unique(np.geomspace(1, updates, RECORDS).astype(int)).tolist():
        while done < update:
            size = min(1000, update - done)
            state, _ = rule.advance(state, Batches(np.broadcast_to(points, (size, *points.shape))))
            done += size
        won = cells(points, state.codes)
        gradient = won.hits[:, None] / len(points) * (won.codes - won.centroids)
        pulled = float(np.linalg.norm(rule.pullback(state, gradient)))
        residual, ratio = float(np.linalg.norm(gradient)), won.distortion / best
        rows.append({"update": update, "residual": residual, "pulled": pulled, "ratio": ratio})
    return rows
