"""Survivors of translation, growth, shrinking, and both, in one to four dimensions, over two decades of speed.

A row per cloud, dimension, drift, lag and seed: the codes that carry mass in the end, those that are alive, and how many
the law of the potential has. The claims use the same runs.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws.potential import DRIFTS, SOURCES, Case, codes_left, law_of

LAGS = {1: (2e-3, 2e-5), 2: (5e-3, 1e-4), 3: (6e-3, 2e-4), 4: (8e-3, 4e-4)}  # fastest and slowest, per deviation
NUMBER, NUMBER_FAST = 5, 1


def run(fast: bool = False) -> pl.DataFrame:
    """The table."""
    number = NUMBER_FAST if fast else NUMBER
    cases = [
        Case(source, dim, drift, float(lag))
        for dim, ends in LAGS.items()
        for source in SOURCES
        for drift in DRIFTS
        for lag in np.geomspace(*ends, NUMBER)[:number]
    ]
    return run_all(counted, [(case, seed) for case in cases for seed in range(1)], "potential")


def counted(case: Case, seed: int) -> list[dict]:
    """One run."""
    carrying, alive = codes_left(case, seed)
    row = {"source": case.source, "dim": case.dim, "drift": case.drift, "lag": case.lag, "seed": seed}
    return [row | {"law": law_of(case), "carrying": carrying, "alive": alive}]
