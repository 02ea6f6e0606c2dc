"""How fast a cloud may shrink for each rule to follow: the toy's shrinking encoder at many rates.

The cloud shrinks to the same size at every rate, over the first third of the run; slower is longer.
"""

from __future__ import annotations

import math
from itertools import product

import polars as pl

from simulations.tables import run_all
from simulations.toy import DRIFTING, POINTS, RATE, drifts, follow, rules
from vqtheory.streams import Latents, Stream

LOG_FACTOR = RATE * DRIFTING  # the toy's


def run(fast: bool = False) -> pl.DataFrame:
    """One row per rule, rate and seed: codes alive and distortion over the best Lloyd at the end."""
    rates = (0.06, 0.03, 0.01) if fast else (0.06, 0.03, 0.02, 0.015, 0.01, 0.0075, 0.005)
    return run_all(simulate, product(("VQ", "EMA", "NSVQ", "TransVQ"), rates, range(1 if fast else 5)), "shrinking")


def simulate(rule: str, rate: float, seed: int) -> list[dict]:
    """The end of one run."""
    drifting = math.ceil(LOG_FACTOR / rate)
    steps = 3 * drifting
    stream = Stream(Latents(POINTS), drifts(drifting, rate)["shrinking"])
    last = follow(rules(4.0, drifting, steps)[rule], stream, steps, seed, records=1)[-1]
    return [{"rule": rule, "rate": rate, "seed": seed, "alive": last["alive"], "ratio": last["ratio"]}]
