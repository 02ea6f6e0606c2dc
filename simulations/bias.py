"""How far NSVQ is held from k-means by a bandwidth that does not shrink, against that bandwidth.

On a stationary encoder, unit interval, 4 codes, gaussian and softmax form: the distance at the fixed point of the
mean motion, to rounding, and what the pulls on the outermost codes give to first order. At the two widest
bandwidths simulations come to rest and measure the same distance, averaged over times and latents: how far the codes
of NSVQ are from the codes of plain VQ on the same latents, along the displacement of the fixed point. One row per
form and bandwidth, and one per simulation.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws import bias

SEEDS, SEEDS_FAST = 6, 1  # each of the runs of a quick claim
COMPUTED = np.geomspace(0.02, 0.2, 25).tolist()  # bandwidths
SIMULATED = tuple(product(bias.FORMS, bias.BANDWIDTHS[:2]))


def run(fast: bool = False) -> pl.DataFrame:
    """The table; `simulated` is null in rows that are computed."""
    seeds = range(SEEDS_FAST if fast else SEEDS)
    simulated = [(form, bandwidth, seed) for (form, bandwidth), seed in product(SIMULATED, seeds)]
    return run_all(distances, [*product(bias.FORMS, COMPUTED, [None]), *simulated], "bias")


def distances(form: str, bandwidth: float, seed: int | None) -> list[dict]:
    """Distances from k-means: at the fixed point, to first order, and of simulations where there is a seed."""
    distance = bias.distance(form, bandwidth)
    row = {"form": form, "bandwidth": bandwidth, "distance": distance, "first order": bias.first_order(form, bandwidth)}
    if seed is None:
        return [row | {"simulated": None}]
    return [row | {"simulated": ratio * distance} for ratio in bias.simulated(form, bandwidth, "quick", seed)]
