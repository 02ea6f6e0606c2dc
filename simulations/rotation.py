"""The rotation trick and straight-through in a closed loop, by where latents start and how fast the codes are.

Latents start stretched about the origin, so that they grow or shrink in the training, or at a distance from it; EMA moves
128 codes. One row per estimator, decay, start and seed: the share of codes that are used in the end, the distortion over
the latents' variance, the loss, and by how much latents have grown. The claims use the same runs.
"""

from __future__ import annotations

import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws.rotation import SLOW, trained
from vqtheory.streams.closed_loop import ESTIMATORS

DECAYS, DECAYS_FAST = (0.8, 0.99, SLOW), (SLOW,)
STRETCHES, STRETCHES_FAST = (0.1, 0.3, 1.0, 3.0), (0.1,)
DISTANCES, DISTANCES_FAST = (3.0, 6.0, 12.0, 24.0), (6.0,)
SEEDS, SEEDS_FAST = 3, 1


def run(fast: bool = False) -> pl.DataFrame:
    """The table."""
    decays, seeds = (DECAYS_FAST, SEEDS_FAST) if fast else (DECAYS, SEEDS)
    stretches, distances = (STRETCHES_FAST, DISTANCES_FAST) if fast else (STRETCHES, DISTANCES)
    starts = [*((stretch, 0.0) for stretch in stretches), *((1.0, distance) for distance in distances)]
    tasks = [
        (estimator, decay, *start, seed)
        for start in starts
        for decay in decays
        for estimator in ESTIMATORS
        for seed in range(seeds)
    ]
    return run_all(ended, tasks, "rotation")


def ended(estimator: str, decay: float, stretch: float, distance: float, seed: int) -> list[dict]:
    """One run."""
    row = {"estimator": estimator, "decay": decay, "stretch": stretch, "distance": distance, "seed": seed}
    return [row | trained(estimator, decay, stretch, distance, seed)._asdict()]
