"""How fast a cloud may shrink for each rule to follow: the toy's shrinking encoder at many rates.

The cloud shrinks to the same size at every rate, over the first third of the run; slower is longer.
"""

from __future__ import annotations

import math
from itertools import product

import polars as pl

from simulations.lineup import in_order
from simulations.tables import run_all
from simulations.toy import DRIFTING, POINTS, RATE, drifts, follow, rules
from vqtheory.protocols import Rule
from vqtheory.streams import Latents, Stream

LOG_FACTOR = RATE * DRIFTING  # the toy's
STEP_SIZE = 4.0
RATES, RATES_FAST = (0.06, 0.03, 0.02, 0.015, 0.01, 0.0075, 0.005), (0.06, 0.03, 0.01)
SEEDS, SEEDS_FAST = 5, 1


def run(fast: bool = False) -> pl.DataFrame:
    """One row per rule, rate and seed: codes alive and distortion over the best Lloyd at the end."""
    rates, seeds = (RATES_FAST, SEEDS_FAST) if fast else (RATES, SEEDS)
    runs = product(in_order(rules(STEP_SIZE)), rates, range(seeds))
    return run_all(simulate, [(*run, rules(STEP_SIZE, *lengths(run[1]))[run[0]]) for run in runs], "shrinking")


def lengths(rate: float) -> tuple[int, int]:
    """Updates of the drift, and of the run."""
    drifting = math.ceil(LOG_FACTOR / rate)
    return drifting, 3 * drifting


def simulate(rule: str, rate: float, seed: int, follower: Rule) -> list[dict]:
    """The end of one run."""
    drifting, steps = lengths(rate)
    stream = Stream(Latents(POINTS), drifts(drifting, rate)["shrinking"])
    last = follow(follower, stream, steps, seed, records=1)[-1]
    return [{"rule": rule, "rate": rate, "seed": seed, "alive": last["alive"], "ratio": last["ratio"]}]
