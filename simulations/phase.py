"""When a codebook collapses: usage over the number of codes and the speed of the drift, for six rules.

A uniform cloud on the line moves by three of its widths, the codes starting where they are best for it at rest. A code
is alive at the end if its cell has at least the mass of one in 200 K latents. NSVQ's kernel carries codes along behind
the cloud that win nothing: it is counted after the drift has ended and its bandwidth has shrunk. Below the law's own
speed a run is no longer than at it. Batches are so large that their noise hardly moves the boundary. The map
rules are Adam's, which is quick about shared shifts; there is no law for them here.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from simulations.tables import run_all
from vqtheory.claims.laws.collapse import living
from vqtheory.claims.laws.stationary import optimum
from vqtheory.rules import EMA, NSVQ, VQ, SimVQ, TrainedVQ, TransVQ
from vqtheory.schedules import exponential
from vqtheory.simulation.follow import follow
from vqtheory.streams import Stream, Translation, Uniform
from vqtheory.theory import adam_critical_speed, capture_speed, critical_speed, ema_critical_speed

WIDTHS = 3.0
RATE, DECAY, ADAM_RATE, ADAM_BATCH, BANDWIDTH, MAP_RATE = 0.1, 0.9, 4e-5, 256, 0.3, 1e-3
CODES, CODES_FAST = (2, 3, 4, 6, 8, 11, 16, 23, 32), (2, 4, 8)
SPEEDS = {  # exponents of ten, from and to
    "VQ": (-6.0, -1.5),
    "EMA": (-5.0, -1.5),
    "VQ with Adam": (-6.0, -4.25),
    "NSVQ": (-4.5, -1.5),
    "TransVQ": (-4.5, -1.5),
    "SimVQ": (-4.5, -1.5),
}
POINTS, POINTS_FAST = 19, 4
RECOVERY = 60_000  # updates in which NSVQ's bandwidth falls to 1/1000 and the codes come back


def run(fast: bool = False) -> pl.DataFrame:
    """One row per rule, number of codes and speed."""
    codes, points = (CODES_FAST, POINTS_FAST) if fast else (CODES, POINTS)
    tasks = [
        (rule, K, float(10**exponent))
        for (rule, ends), K in product(SPEEDS.items(), codes)
        for exponent in np.linspace(*ends, points)
    ]
    return run_all(simulate, tasks, "phase")


def simulate(rule: str, num_codes: int, speed: float) -> list[dict]:
    """The end of one run."""
    slowest = boundary(rule, np.array([num_codes]))[0]
    drifting = math.ceil(WIDTHS / max(speed, 0.5 * slowest if np.isfinite(slowest) else 0))
    steps = drifting + (RECOVERY if rule == "NSVQ" else 0)
    stream = Stream(Uniform(dim=1), Translation(speed, limit=speed * drifting))
    end = follow(made(rule, drifting), stream, optimum(num_codes), steps, 0, batch_size(rule, num_codes))
    return [{"rule": rule, "codes": num_codes, "speed": speed, "alive": living(stream, end.codes, steps - 1)}]


def made(rule: str, drifting: int) -> Any:
    """The rule, for a drift of so many updates."""
    return {
        "VQ": VQ(RATE),
        "EMA": EMA(DECAY),
        "VQ with Adam": TrainedVQ(ADAM_RATE),
        "NSVQ": NSVQ(RATE, bandwidth=exponential(BANDWIDTH, half_life=RECOVERY / 10, begin=drifting)),
        "TransVQ": TransVQ(MAP_RATE, width=16),
        "SimVQ": SimVQ(MAP_RATE, optimizer="adam"),
    }[rule]


def batch_size(rule: str, num_codes: int) -> int:
    """Latents per update."""
    return {"VQ": 8, "EMA": 16 * num_codes, "VQ with Adam": ADAM_BATCH}.get(rule, 32)


def boundary(rule: str, num_codes: np.ndarray) -> np.ndarray:
    """The predicted speed up to which all codes live; nan where there is no law."""
    num_codes = np.asarray(num_codes)
    if rule == "VQ":
        return critical_speed(num_codes, RATE)
    if rule == "EMA":
        return ema_critical_speed(num_codes, DECAY)
    if rule == "VQ with Adam":
        return adam_critical_speed(num_codes, ADAM_RATE, ADAM_BATCH)
    if rule == "NSVQ":
        reach = capture_speed(RATE, BANDWIDTH, source=Uniform(dim=1))
        return np.maximum(critical_speed(num_codes, RATE), reach)
    return np.full(num_codes.shape, np.nan)
