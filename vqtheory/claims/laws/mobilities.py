"""EMA and Adam in D dimensions: how many codes the drift of a ball and of a cube along its diagonal leaves.

A code of EMA moves as far whatever its mass, and one of Adam as the root of it. Runs are as for the other drifts; those of
EMA have 30 latents to a code in an update, those of Adam 48 latents in all, since its law is of drifts far below the rate.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from vqtheory.claims.laws.potential import EXCESS, REPLICATES, SEEN, Ball, Steady, settled
from vqtheory.claims.laws.provenance import DERIVED, MEASURED
from vqtheory.claims.statement import Claim, Effort, Range, claim
from vqtheory.rules import EMA, TrainedVQ
from vqtheory.streams import Uniform
from vqtheory.theory import live_codes
from vqtheory.theory._ball import MEASURED_SHARE

LAW = "EMA and Adam in D dimensions"
DECAY, TO_A_CODE = 0.9, 30
CELLS, LATENTS, NUMBERS = 0.003, 48, (60, 90)  # Adam's rate in cells of a cube, latents in an update, and K
LAGS = {("ball", 2): (0.04, 0.02), ("ball", 3): (0.1, 0.05), ("diagonal", 2): (0.02, 0.01)}
WIDTHS = 6
MEASURED_CORNER = (1.1, 1.5)


def shape(name: str, dim: int) -> tuple[Ball | Uniform, float, tuple[float, ...]]:
    """A cloud, its width, and the direction that it drifts in."""
    if name == "ball":
        return Ball(dim), 2.0, (1.0, *[0.0] * (dim - 1))
    return Uniform(dim), 1.0, (dim**-0.5,) * dim


@cache
def ema_over_law(name: str, dim: int, lag: float, seed: int) -> float:
    """Codes of EMA that a drift leaves, over K_live; its lag is v / (1 - decay)."""
    cloud, width, direction = shape(name, dim)
    velocity = tuple(lag * (1 - DECAY) * e for e in direction)
    law = live_codes(cloud, velocity=velocity, rule=EMA(decay=DECAY)).codes
    assert law is not None
    steps = math.ceil(WIDTHS * width / (lag * (1 - DECAY)))
    start = math.ceil(EXCESS * law)
    return settled(EMA(decay=DECAY), cloud, Steady(velocity, 0.0), steps, start, seed, TO_A_CODE * round(law))[1] / law


@cache
def adam_over_law(name: str, dim: int, num_codes: int, seed: int) -> float:
    """Codes of VQ under Adam that a drift leaves at the speed at which K_live is so many, over that."""
    cloud, width, direction = shape(name, dim)
    rule = TrainedVQ(CELLS * num_codes ** (-1 / dim))
    slow = 1e-4 * rule.step_size
    one = live_codes(cloud, velocity=[slow * e for e in direction], rule=rule, batch_size=LATENTS).codes
    assert one is not None
    speed = slow * (one / num_codes) ** ((dim + 2) / (2 * dim))
    steps = math.ceil(WIDTHS * width / speed)
    drift = Steady(tuple(speed * e for e in direction), 0.0)
    return settled(rule, cloud, drift, steps, EXCESS * num_codes, seed, LATENTS)[1] / num_codes


def mean_over_law(rule: str, name: str, dim: int, effort: Effort, seed: int) -> list[float]:
    """Geometric mean over the sizes, of each replicate."""
    over = {"ema": ema_over_law, "adam": adam_over_law}[rule]
    sizes: tuple = LAGS[name, dim] if rule == "ema" else NUMBERS
    sizes = sizes[:1] if effort == "quick" else sizes
    seeds = range(REPLICATES * seed, REPLICATES * (seed + 1))
    return [float(np.exp(np.mean([np.log(over(name, dim, size, one)) for size in sizes]))) for one in seeds]


def agrees(rule: str, name: str, dim: int, title: str) -> Claim:
    """Where the law holds to 15 %."""

    @claim(
        key=f"{rule}-{name}-{dim}d",
        statement=f"{title} keeps as many codes as the law of the potential says, to 15 % (over law, mean over sizes)",
        source=DERIVED,
        law=LAW,
        strength="tolerance",
        predict=Range(0.85, 1.15),
        resolution=0.25,
        runs=f"{rule}-{name}-{dim}d",
        seen=SEEN,
    )
    def over_law(effort: Effort, seed: int) -> list[float]:
        return mean_over_law(rule, name, dim, effort, seed)

    return over_law


def share(rule: str, name: str, dim: int, title: str, low: float, high: float) -> Claim:
    """Where it does not: what is measured, and what `vqtheory predict` quotes."""

    @claim(
        key=f"{rule}-{name}-{dim}d",
        statement=f"{title}, over the law of the potential (mean over sizes)",
        source=MEASURED,
        law=LAW,
        strength="description",
        predict=Range(low, high),
        runs=f"{rule}-{name}-{dim}d",
        seen=SEEN,
    )
    def over_law(effort: Effort, seed: int) -> list[float]:
        return mean_over_law(rule, name, dim, effort, seed)

    return over_law


CLAIMS = [
    agrees("ema", "ball", 2, "EMA on a disc that drifts"),
    share("ema", "ball", 3, "Codes that EMA keeps of a drifting 3-D ball", *MEASURED_SHARE["ema"][3]),
    share("ema", "diagonal", 2, "Codes that EMA keeps of a square that drifts along its diagonal", *MEASURED_CORNER),
    agrees("adam", "diagonal", 2, "VQ under Adam on a square that drifts along its diagonal"),
    share("adam", "ball", 2, "Codes that Adam keeps of a drifting disc", *MEASURED_SHARE["adam"][2]),
    share("adam", "ball", 3, "Codes that Adam keeps of a drifting 3-D ball", *MEASURED_SHARE["adam"][3]),
]
