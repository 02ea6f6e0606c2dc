"""Survivors of translation, growth, shrinking, and both, in one to four dimensions, over two decades of speed.

A row per cloud, dimension, drift, lag and seed: the codes that carry mass in the end, those that are alive, and how many
the law of the potential has. The claims use the same runs.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws.potential import DRIFTS, SOURCES, Case, codes_left, law_of

LAGS = {1: (1e-2, 1e-4), 2: (1e-2, 2e-4), 3: (1e-2, 4e-4), 4: (1e-2, 8e-4)}  # fastest and slowest, per deviation
NUMBER, NUMBER_FAST = 4, 1


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
    return run_all(counted, [(case, 0) for case in cases if law_of(case) > 0], "potential")


def counted(case: Case, seed: int) -> list[dict]:
    """One run."""
    carrying, alive = codes_left(case, seed)
    row = {"source": case.source, "dim": case.dim, "drift": case.drift, "lag": case.lag, "seed": seed}
    return [row | {"law": law_of(case), "carrying": carrying, "alive": alive}]
