"""A drifting encoder on patches of a photograph: which rule keeps its codes, and which gets them back.

The photograph grows brighter (every patch is shifted by one vector) or loses contrast (the cloud of
patches shrinks about its mean) over the first quarter of a run of 6,000 updates of batch 128, and is then
stationary (Lu et al., arXiv 2602.18896: drift, not the start, makes codes die). One row per drift,
speed, rule, seed and record: the history of the run, and the distortion over the best of 20 Lloyd runs.

Every rule has the step size 2, the largest at which a code that wins whole batches does not diverge; EMA
has the decay 1 - 2/K, which moves a code of average mass as far, and SimVQ with bias, whose tangent kernel
has twice the trace, the step size 1. NSVQ's bandwidth is the spread of the cloud, s sqrt(D), for as long as
the encoder drifts, and is then halved 30 times. TransVQ is trained by Adam, whose steps are no step sizes
of that kind: 4e-3 is the best of 5e-4, 1e-3, 2e-3 and 4e-3 at the speeds below 0.03, and falls after the
drift. The neighbourhoods of neural gas and of the SOM, and the bias of the conscience, shrink with the
bandwidth, and neural gas and the SOM have half the step, since all latents move each of their codes. A map
is given the mean and the spread of the other rules' first codes, not the codes themselves. A codebook is
re-estimated five times during the drift and five times after it; EMA's dead codes are replaced every 100 updates.
CosineVQ sees directions only: its codes and its distortion are on the unit sphere, and it has no ratio to
the best Lloyd run.

What comes out (codes alive of 64 at the end, medians of five seeds): at the speeds 1e-4, 1e-3, 1e-2 and 3e-2 VQ keeps
63, 35, 6, 4 and EMA 64, 31, 2, 1, and neither gets one back while the encoder is stationary. NSVQ by its defaults,
transport, CVQ, neural gas, the SOM, FSCL, Sinkhorn, a frame, re-estimation and EMA with expiry have 63 or 64 at every
speed, Wasserstein's pull has 49 to 54, and EntropyVQ ends as VQ does, with 55, 33, 6, 4. NSVQ's gaussian form crowds: 7
or 8 are chosen during the drift, even the slowest, and all 64 after it. Its softmax form, whose pull is weaker, ends
with 64, 64, 44, 15, its propagate form with 64 throughout. TransVQ has 64, 64, 64, 28, at the last speed anything from
19 to 61. Where the cloud shrinks TransVQ has 40, the conscience 60, propagate 29 (so wide a kernel passes on the mean
of all moves, which is 0 for a cloud that shrinks) and VQ 26. CosineVQ does not see a cloud shrink, but at the speed
1e-2 it is left with 13.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import polars as pl

import vqtheory as vq
from simulations.lineup import ordered
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
    CosineVQ,
    EntropyVQ,
    NeuralGas,
    Reestimate,
    Replacement,
    SimVQ,
    Sinkhorn,
    Transport,
    TransVQ,
    Wasserstein,
)
from vqtheory.rules.base import projects
from vqtheory.schedules import exponential
from vqtheory.streams import Patches, Scaling, Stream, Translation

CODES, BATCH, STEP_SIZE = 64, 128, 2.0
STEPS, STEPS_FAST, DRIFTING = 6000, 1200, 0.25  # updates, and the share of them in which the encoder drifts
RECORDS = 60
WINDOWS = 40_000  # patches for the best codes: half to find them on, half to measure them on
SEEDS, SEEDS_FAST = 5, 1
BRIGHTER, FAINTER = (1e-4, 1e-3, 1e-2, 3e-2), (1e-3,)  # distance, and logarithm of the factor, per update
BRIGHTER_FAST, FAINTER_FAST = (1e-3, 1e-2), (1e-3,)


def run(fast: bool = False) -> pl.DataFrame:
    """The table, one row per drift, speed, rule, seed and record."""
    brighter, fainter = (BRIGHTER_FAST, FAINTER_FAST) if fast else (BRIGHTER, FAINTER)
    drifts = [*product(["brighter"], brighter), *product(["fainter"], fainter)]
    steps, seeds = (STEPS_FAST, SEEDS_FAST) if fast else (STEPS, SEEDS)
    followers = ordered(rules(steps))
    tasks = [
        (*drift, rule, seed, steps, follower) for drift, (rule, follower), seed in product(drifts, followers, range(seeds))
    ]
    return run_all(simulate, tasks, "drift")


def simulate(drift: str, speed: float, rule: str, seed: int, steps: int, follower: Rule) -> list[dict]:
    """The records of one run."""
    stream = Stream(Patches(), motion(drift, speed, steps))
    rows = []

    def on_record(step: int, codes: np.ndarray, row: dict) -> None:
        ratio = None if projects(follower) else over_best(stream, step, seed, codes)
        history = {column: row[column] for column in ("used", "perplexity", "distortion", "dead")}
        rows.append({"step": step, "ratio": ratio} | history)

    vq.simulate(
        follower, stream, codes=CODES, steps=steps, batch_size=BATCH,
        seed=seed, records=RECORDS, progress=False, on_record=on_record,
    )  # fmt: skip
    task = {"drift": drift, "speed": speed, "rule": rule, "seed": seed, "drifting": drifting(steps)}
    return [task | row for row in rows]


def drifting(steps: int) -> int:
    """The update at which the encoder comes to rest."""
    return int(DRIFTING * steps)


def motion(drift: str, speed: float, steps: int) -> Translation | Scaling:
    """The encoder's drift, to a stop."""
    if drift == "brighter":
        return Translation(speed, direction=np.ones(Patches().dim), limit=speed * drifting(steps))
    return Scaling(-speed, limit=math.exp(-speed * drifting(steps)))


def rules(steps: int) -> dict[str, Rule]:
    """The rules, with what shrinks after the drift made to."""
    begin, rest = drifting(steps), steps - drifting(steps)
    ranks = exponential(CODES / 4, half_life=rest / 30, begin=begin)
    bandwidth = exponential(spread() * math.sqrt(Patches().dim), half_life=rest / 30, begin=begin)
    return {
        "VQ": VQ(STEP_SIZE),
        "EMA": EMA(decay=1 - STEP_SIZE / CODES),
        "EMA with expiry": Replacement(EMA(decay=1 - STEP_SIZE / CODES)),
        "VQ with transport": Transport(VQ(STEP_SIZE)),
        "NSVQ": NSVQ(),
        "NSVQ gaussian": NSVQ(STEP_SIZE, bandwidth),
        "NSVQ softmax": NSVQ(STEP_SIZE, bandwidth, form="softmax"),
        "NSVQ propagate": NSVQ(STEP_SIZE, bandwidth, form="propagate"),
        "TransVQ": TransVQ(exponential(4e-3, half_life=rest / 6, begin=begin), width=64),
        "SimVQ": SimVQ(STEP_SIZE / 2),
        "SimVQ without bias": SimVQ(STEP_SIZE, bias=False),
        "CosineVQ": CosineVQ(STEP_SIZE),
        "CVQ": CVQ(STEP_SIZE),
        "NeuralGas": NeuralGas(STEP_SIZE / 2, ranks),
        "SOM": SOM(STEP_SIZE / 2, exponential(2.0, half_life=rest / 30, begin=begin), grid=(8, 8)),
        "FSCL": FSCL(STEP_SIZE, decay=0.99),
        "Conscience": Conscience(STEP_SIZE, bias=exponential(spread(), half_life=rest / 30, begin=begin)),
        "Sinkhorn": Sinkhorn(STEP_SIZE),
        "EntropyVQ": EntropyVQ(STEP_SIZE),
        "VQ in a frame": Affine(VQ(STEP_SIZE)),
        "VQ with Wasserstein's pull": Wasserstein(VQ(STEP_SIZE)),
        "VQ re-estimated": Reestimate(VQ(STEP_SIZE), every=begin // 5, until=2 * begin),
    }


def over_best(stream: Stream, step: int, seed: int, codes: np.ndarray) -> float:
    """Distortion of codes on fresh patches, over the distortion of the best Lloyd codes, which would drift along."""
    patches = stream.at(step, seed)
    least = best_lloyd() * float(patches.now.factor[0]) ** 2
    return vq.measure.distortion(patches.sample(200 * len(codes)), codes) / least


@cache
def windows() -> np.ndarray:
    """Patches before they drift, [N, D]."""
    return Patches().sample(np.random.default_rng(7), WINDOWS)


@cache
def spread() -> float:
    """Root mean square distance of the patches from their mean, per coordinate."""
    return float(np.sqrt(windows().var(axis=0).mean()))


@cache
def best_lloyd() -> float:
    """The distortion, before the drift, of the best of 20 Lloyd runs."""
    known, fresh = np.split(windows(), 2)
    return vq.measure.distortion(fresh, vq.reference.lloyd(known, CODES, restarts=20).codes)
