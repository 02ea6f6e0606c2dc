"""The fastest drift after which every code of NSVQ comes back, against its bandwidth, for few codes and for many.

Unit interval, gaussian form, step size 0.1. A drift of 8 widths and 100 bandwidths, a stop, and an annealed
bandwidth; the largest speed after which all codes are in use, by bisection. Plain VQ, bandwidth 0, is run with 4
codes; with 16 its critical speed is too slow for that. One row per number of codes, bandwidth and seed.
"""

from __future__ import annotations

import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws import capture

CODES, PLAIN = (4, 16), 4  # PLAIN: how many codes plain VQ is run with
SEEDS, SEEDS_FAST = 2, 1
BANDWIDTHS = (0.02, 0.035, 0.06, 0.1, 0.175, 0.3, 0.55, 1.0, 2.0)
BANDWIDTHS_FAST = (0.06, 0.3, 1.0)


def run(fast: bool = False) -> pl.DataFrame:
    """The table; the slowest, which are narrow and have many codes, go first."""
    widths, seeds = (BANDWIDTHS_FAST, SEEDS_FAST) if fast else (BANDWIDTHS, SEEDS)
    tasks = [(k, s, seed) for s in widths for k in sorted(CODES, reverse=True) for seed in range(seeds)]
    return run_all(largest, [*tasks, *((PLAIN, 0.0, seed) for seed in range(seeds))], "capture")


def largest(num_codes: int, bandwidth: float, seed: int) -> list[dict]:
    """The largest speed after which all codes are in use again, and what the law predicts for it."""
    law = capture.law(num_codes, bandwidth)
    speed = law * capture.on_the_line(num_codes, bandwidth, seed)
    return [{"codes": num_codes, "bandwidth": bandwidth, "seed": seed, "speed": speed, "law": law}]
