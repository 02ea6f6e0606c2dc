"""Survivors of a drifting ball, and of a cube that drifts along its diagonal, under SGD, EMA and Adam in 1 to 3 dimensions.

A row per rule, shape, dimension, number that the law has, and seed: the codes that are left. The claims use the same runs.
"""

from __future__ import annotations

import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws.mobilities import codes_left

NUMBERS = {1: (8, 12, 18, 26), 2: (20, 35, 60, 100), 3: (20, 35, 60, 100)}  # of each dimension
FAST = 2  # of them
SEEDS = 2


def run(fast: bool = False) -> pl.DataFrame:
    """The table."""
    tasks = [
        (rule, shape, dim, num_codes, seed)
        for rule in ("vq", "ema", "adam")
        for dim in (1, 2, 3)
        for shape in (("ball", "diagonal") if dim > 1 else ("ball",))
        for num_codes in (NUMBERS[dim][:FAST] if fast else NUMBERS[dim])
        for seed in range(1 if fast else SEEDS)
    ]
    return run_all(counted, tasks, "mobilities")


def counted(rule: str, shape: str, dim: int, num_codes: int, seed: int) -> list[dict]:
    """One run."""
    row = {"rule": rule, "shape": shape, "dim": dim, "law": num_codes, "seed": seed}
    return [row | {"alive": codes_left(rule, shape, dim, num_codes, seed)}]
