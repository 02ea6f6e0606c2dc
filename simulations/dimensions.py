"""Survivors of a drifting cube in one to eight dimensions, and the force balance inside it.

The claims (`vqtheory.claims.laws.dimensions`) use the same runs: plain vector quantization, three times as many codes at
the start as the law leaves, six widths of drift. One row per dimension, number of codes by the law, and seed; and one
per group of codes along the drift, of the largest such number, in two to four dimensions.
"""

from __future__ import annotations

import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws.dimensions import OFFSET, SIZES, STEP_SIZE, lag_of, profile, settled, sizes_of

SEEDS, SEEDS_FAST = 8, 4


def run(fast: bool = False) -> pl.DataFrame:
    """The table; null where a row is of the other kind."""
    seeds = SEEDS_FAST if fast else SEEDS
    sizes = {dim: sizes_of(dim, "quick" if fast else "full") for dim in SIZES}
    tasks = [
        (dim, size, seed, size == sizes[dim][-1] and dim in OFFSET)
        for dim in SIZES
        for size in sizes[dim]
        for seed in range(seeds)
    ]
    return run_all(simulate, sorted(tasks, key=lambda task: task[0] != 2), "dimensions")  # the longest first


def simulate(dim: int, size: int, seed: int, with_profile: bool) -> list[dict]:
    """One run: its survivors, and its profile if asked for."""
    task = {"dim": dim, "size": size, "seed": seed, "speed": STEP_SIZE * lag_of(dim, size)}
    rows: list[dict] = [task | {"survivors": len(settled(dim, size, seed)), "x": None, "balance": None}]
    if with_profile:
        groups = zip(*profile(dim, size, seed), strict=True)
        rows += [task | {"survivors": None, "x": float(x), "balance": float(balance)} for x, balance in groups]
    return rows
