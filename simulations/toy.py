"""The paper's toy: 16 codes in the plane, and an encoder whose output translates, shrinks or expands.

A cloud of 4,000 points drifts over the first third of 200 updates of batch 128 and is then stationary
(Lu et al., arXiv 2602.18896, the 2-D figure). One row per record: how many codes are alive, that is
nearest to one of the points where they are at that update, and the distortion over the best of 30
Lloyd runs on them.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import polars as pl

import vqtheory as vq
from simulations.lineup import in_order
from simulations.tables import run_all
from vqtheory.protocols import Rule
from vqtheory.rules import (
    CVQ,
    EMA,
    FSCL,
    NSVQ,
    SOM,
    VQ,
    Affine,
    Conscience,
    EntropyVQ,
    NeuralGas,
    Reestimate,
    Replacement,
    Sinkhorn,
    Transport,
    TransVQ,
    Wasserstein,
)
from vqtheory.schedules import exponential
from vqtheory.streams import Latents, Scaling, Stream, Translation

CODES, STEPS, BATCH, DRIFTING = 16, 200, 128, 66
STEP_SIZES = (4.0, 1.0)
SEEDS, SEEDS_FAST = 5, 1
RECORDS, RECORDS_FAST = 100, 50
SPEED, RATE = 0.1, 0.03  # standard deviations, and logarithms of the factor, per update
POINTS = np.random.default_rng(7).normal(size=(4000, 2))


def drifts(drifting: int = DRIFTING, rate: float = RATE) -> dict[str, Translation | Scaling]:
    """The encoder's three ways to drift."""
    return {
        "translating": Translation(speed=SPEED, limit=SPEED * drifting),
        "shrinking": Scaling(rate=-rate, limit=math.exp(-rate * drifting)),
        "expanding": Scaling(rate=rate, limit=math.exp(rate * drifting)),
    }


def rules(step_size: float, drifting: int = DRIFTING, steps: int = STEPS) -> dict[str, Rule]:
    """The rules at one step size; EMA at the decay that moves a code of average mass as far.

    NSVQ by its name has no step size. The bandwidth of its gaussian form, which is the paper's, shrinks
    after the drift, by eleven halvings, to below a thousandth of the points' first spread. Adam's steps
    do not shrink with the gradient, so TransVQ's are made to.
    """
    half_life = (steps - drifting) / 11
    return {
        "VQ": VQ(step_size),
        "EMA": EMA(decay=1 - step_size / CODES),
        "EMA with expiry": Replacement(EMA(decay=1 - step_size / CODES), every=10),
        "VQ with transport": Transport(VQ(step_size)),
        "NSVQ": NSVQ(),
        "NSVQ gaussian": NSVQ(step_size, bandwidth=exponential(2.0, half_life=half_life, begin=drifting)),
        "CVQ": CVQ(step_size, decay=0.9),
        "NeuralGas": NeuralGas(step_size / 4, exponential(4.0, half_life=half_life, begin=drifting)),
        "SOM": SOM(step_size / 4, exponential(1.0, half_life=half_life, begin=drifting), grid=(4, 4)),
        "FSCL": FSCL(step_size, decay=0.9),
        "Conscience": Conscience(step_size, exponential(2.0, half_life=half_life, begin=drifting), decay=0.9),
        "Sinkhorn": Sinkhorn(step_size),
        "EntropyVQ": EntropyVQ(step_size),
        "VQ in a frame": Affine(VQ(step_size), decay=0.9),
        "VQ with Wasserstein's pull": Wasserstein(VQ(step_size), decay=0.9),
        "VQ re-estimated": Reestimate(VQ(step_size), every=max(1, drifting // 5), until=2 * drifting),
        "TransVQ": TransVQ(exponential(5e-4 * step_size, half_life=2.5 * half_life, begin=drifting)),
    }


def run(fast: bool = False) -> pl.DataFrame:
    """The table, one row per rule, drift, step size, seed and record."""
    seeds, records = (SEEDS_FAST, RECORDS_FAST) if fast else (SEEDS, RECORDS)
    runs = product(in_order(rules(1.0)), drifts(), STEP_SIZES, range(seeds), [records])
    return run_all(simulate, [(*run, rules(run[2])[run[0]]) for run in runs], "toy")


def simulate(rule: str, drift: str, step_size: float, seed: int, records: int, follower: Rule) -> list[dict]:
    """The records of one run; the codes themselves for the first seed, which is the one that is drawn."""
    stream = Stream(Latents(POINTS), drifts()[drift])
    task = {"rule": rule, "drift": drift, "step_size": step_size, "seed": seed}
    return [task | row for row in follow(follower, stream, STEPS, seed, records, keep_codes=seed == 0)]


def follow(rule: Rule, stream: Stream, steps: int, seed: int, records: int, keep_codes: bool = False) -> list[dict]:
    """What becomes of the codes, record by record."""
    rows = []

    def on_record(step: int, codes: np.ndarray, row: dict) -> None:
        points = stream.at(step, seed).support
        assert points is not None
        cells = vq.measure.cells(points, codes)
        ratio = cells.distortion / (best_lloyd() * spread(points) / spread(POINTS))  # all drifts keep the cloud's shape
        alive = int((cells.hits > 0).sum())
        rows.append({"step": step, "alive": alive, "ratio": ratio, "codes": codes.ravel().tolist() if keep_codes else None})

    vq.simulate(
        rule, stream, codes=CODES, steps=steps, batch_size=BATCH,
        seed=seed, records=records, progress=False, on_record=on_record,
    )  # fmt: skip
    return rows


def spread(points: np.ndarray) -> float:
    """Mean squared distance from the mean."""
    return float(points.var(axis=0).sum())


@cache
def best_lloyd() -> float:
    """The distortion of the best of 30 Lloyd runs on the points before they drift."""
    return vq.reference.lloyd(POINTS, CODES, restarts=30, seed=0).distortion
