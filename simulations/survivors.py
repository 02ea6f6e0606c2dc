"""Survivors of a steady drift in one dimension against its speed; and what a finite step size takes off a threshold.

Six distributions, the asymmetric ones in both directions, at speeds from 2.5 to 300 times what 24 codes can follow. A
row per distribution, direction, speed and seed: the codes left alive, and how many the law says, for the run's length
and without the noise of samples. Then a row per number of codes, step size and seed: the share that the noise takes off
the speed at which a run loses its first code, and the same share by the law. The claims use the same experiments.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws.collapse import CLOUDS, noise_share, noisy_share, survivors

CODES, CODES_FAST = 24, 12
FACTORS, FACTORS_FAST = np.geomspace(2.5, 300, 9), np.geomspace(3, 60, 3)
SEEDS, SEEDS_FAST = 3, 1
STEP_SIZES = {2: (0.2, 0.1, 0.05, 0.025, 0.0125), 4: (0.2, 0.1, 0.05, 0.025), 8: (0.2, 0.1, 0.05)}
STEP_SIZES_FAST = {2: (0.2, 0.1, 0.05)}
CHAINS, CHAINS_FAST = 6, 2


def run(fast: bool = False) -> pl.DataFrame:
    """The table; columns are null where a row is of the other kind."""
    num_codes, factors, seeds = (CODES_FAST, FACTORS_FAST, SEEDS_FAST) if fast else (CODES, FACTORS, SEEDS)
    ways = [(name, way) for name, cloud in CLOUDS.items() for way in cloud.directions]
    drifting = [(*way, num_codes, factor, seed) for way, factor, seed in product(ways, factors.tolist(), range(seeds))]
    sizes, chains = (STEP_SIZES_FAST, CHAINS_FAST) if fast else (STEP_SIZES, CHAINS)
    noisy = [(num_codes, eta, seed) for num_codes, etas in sizes.items() for eta in etas for seed in range(chains)]
    frames = [run_all(drift, drifting, "survivors"), run_all(threshold, noisy, "thresholds")]
    return pl.concat(frames, how="diagonal")


def drift(name: str, direction: int, num_codes: int, factor: float, seed: int) -> list[dict]:
    """One steady drift; its speed in units of eta times the distribution's deviation."""
    cloud = CLOUDS[name]
    counts = survivors(cloud, direction, num_codes, factor, seed)
    speed = counts.speed / float(cloud.source.distribution().std())
    return [{"distribution": name, "direction": direction, "seed": seed} | counts._asdict() | {"speed": speed}]


def threshold(num_codes: int, step_size: float, seed: int) -> list[dict]:
    """The threshold of one chain of runs, of one sample per update."""
    share, law = noise_share(num_codes, step_size, 1, seed), noisy_share(num_codes, step_size, 1)
    return [{"num_codes": num_codes, "step_size": step_size, "seed": seed, "share": share, "share_by_law": law}]
