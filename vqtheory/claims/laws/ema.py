"""EMA codebooks: the fastest drift that all codes can follow, by samples and by the mean-field map.

Runs start from the optimum without drift and have 12 K^(2/D) / (1 - gamma) updates. In one dimension that is 30 times
what the slowest mode takes to relax, and updates have B = 64 K samples: their noise lowers the threshold by 1 to 2 %. A
code is lost if it wins nothing in the last tenth.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from vqtheory.claims.laws.provenance import DERIVED, MEASURED, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, Scaling, claim
from vqtheory.claims.threshold import threshold
from vqtheory.reference import lloyd
from vqtheory.rules import EMA
from vqtheory.simulation.alive import optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Stream, Translation, Uniform
from vqtheory.theory import ema_critical_speed, ema_existence_speed, mean_motion

LAW = "ema"
DECAY = 0.99


def follows(codes: np.ndarray, decay: float, speed: float, batch: int, seed: int) -> bool:
    """Whether all codes [K, D] live through a run on the unit cube."""
    dim = codes.shape[1]
    steps = math.ceil(12 * len(codes) ** (2 / dim) / (1 - decay))
    end = follow(EMA(decay), Stream(Uniform(dim), Translation(speed)), codes, steps, seed, batch)
    return bool(np.all(end.hits > 0))


def sampled_threshold(num_codes: int, seed: int) -> float:
    """The fastest drift in one dimension that all codes live through, over `ema_critical_speed`, to 0.6 %."""
    codes, unit = optimum(num_codes), ema_critical_speed(num_codes, DECAY)
    return threshold(lambda factor: follows(codes, DECAY, factor * unit, 64 * num_codes, seed), 0.8, 1.2, halvings=5)


@claim(
    key="ema-threshold",
    statement="EMA on a uniform cloud keeps all K codes up to (1 - gamma) / 2K(K - 6/7) (simulated over law, to a tenth, K "
    "= 4 to 16)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.9, 1.1),
)
def sampled_thresholds(effort: Effort, seed: int) -> list[float]:
    """All of them."""
    runs = {4: 2, 8: 1} if effort == "quick" else {4: 8, 8: 4, 16: 2}
    return [sampled_threshold(num_codes, seed * 100 + i) for num_codes, count in runs.items() for i in range(count)]


def fluid_threshold(num_codes: int, seed: int) -> float:
    """The fastest drift at which the mean-field map keeps all codes, between v_c (0) and the limit of existence (1)."""
    decay = 0.9
    low, high = ema_critical_speed(num_codes, decay), ema_existence_speed(num_codes, decay)
    start = optimum(num_codes) + 1e-4 / num_codes * np.random.default_rng(seed).normal(size=(num_codes, 1))
    steps = 60 * num_codes**2 / (1 - decay)

    def keeps(position: float) -> bool:
        speed = low + position * (high - low)
        return bool(mean_motion(EMA(decay), stats.uniform(), start, round(steps), speed=speed, records=1).alive[-1].all())

    return threshold(keeps, -1.0, 2.0, halvings=6)


@claim(
    key="ema-counts-lag",
    statement="EMA loses its first code before its steady state ends, by mean field (from 0 at v_c to 1 at the end of "
    "existence)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(-0.1, 0.1),
)
def fluid_thresholds(effort: Effort, seed: int) -> list[float]:
    """All of them."""
    return [fluid_threshold(num_codes, seed) for num_codes in ((4,) if effort == "quick" else (4, 6, 8))]


def planar_threshold(num_codes: int, seed: int, decay: float = 0.9) -> float:
    """The fastest drift on the unit square that all codes live through; they start at a k-means solution."""
    sample, unit = Stream(Uniform(dim=2)).at(0, seed).sample(100 * num_codes), (1 - decay) / num_codes
    codes = lloyd(sample, num_codes, 1, seed=seed).codes
    return unit * threshold(lambda factor: follows(codes, decay, factor * unit, 512, seed), 0.3, 1.3, halvings=5)


@claim(
    key="ema-in-the-plane",
    statement="In two dimensions the fastest drift that an EMA codebook can follow falls about as 1/K, not as K^-2 "
    "(exponent)",
    source=MEASURED,
    law=LAW,
    strength="description",
    kind=Scaling("codes"),
    predict=Range(-1.3, -0.7),
    resolution=0.4,
    seen=SEEN,
)
def in_the_plane(effort: Effort, seed: int) -> dict[float, list[float]]:
    """The fastest drift on the unit square that all codes live through, by K."""
    sizes, runs = ((6, 24), 10) if effort == "quick" else ((8, 16, 32), 20)
    return {float(K): [planar_threshold(K, seed * 100 + i) for i in range(runs)] for K in sizes}


CLAIMS = [sampled_thresholds, fluid_thresholds, in_the_plane]
