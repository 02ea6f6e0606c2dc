"""EMA and Adam in D dimensions: how many codes the drift of a ball and of a cube along its diagonal leaves.

A code of EMA moves as far whatever its mass, and one of Adam as the root of it. Runs are as for the other drifts; those of
EMA have 30 latents to a code in an update, those of Adam 48 latents in all, since its law is of drifts far below the rate.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from vqtheory.claims.laws.potential import BATCH, EXCESS, REPLICATES, SEEN, STEP_SIZE, Ball, Steady, settled
from vqtheory.claims.laws.provenance import DERIVED, MEASURED
from vqtheory.claims.statement import Claim, Effort, Range, claim
from vqtheory.protocols import Rule
from vqtheory.rules import EMA, VQ, TrainedVQ
from vqtheory.streams import Uniform
from vqtheory.theory import live_codes
from vqtheory.theory._ball import MEASURED_SHARE
from vqtheory.theory._flow import mobility_of

LAW = "EMA and Adam in D dimensions"
DECAY, TO_A_CODE = 0.9, 30
CELLS, LATENTS = 0.003, 48  # Adam's rate in cells of a cube, and latents in an update
NUMBERS = {"ema": (30, 60), "adam": (60, 90)}  # K_live
WIDTHS = 6
MEASURED_CORNER = (1.1, 1.5)


def shape(name: str, dim: int) -> tuple[Ball | Uniform, float, tuple[float, ...]]:
    """A cloud, its width, and the direction that it drifts in."""
    if name == "ball":
        return Ball(dim), 2.0, (1.0, *[0.0] * (dim - 1))
    return Uniform(dim), 1.0, (dim**-0.5,) * dim


def mover(name: str, dim: int, num_codes: int) -> tuple[Rule, int]:
    """A rule, and its latents in an update."""
    if name == "ema":
        return EMA(decay=DECAY), TO_A_CODE * num_codes
    if name == "adam":
        return TrainedVQ(CELLS * num_codes ** (-1 / dim)), LATENTS
    return VQ(STEP_SIZE), BATCH


def speed_of(rule: Rule, name: str, dim: int, num_codes: int, batch_size: int) -> float:
    """The speed at which K_live is so many, from one that is slow enough for any rule."""
    cloud, _, direction = shape(name, dim)
    slow = 1e-6
    velocity = [slow * e for e in direction]
    codes = live_codes(cloud, velocity=velocity, rule=rule, batch_size=batch_size, trailing_layer=False).codes
    assert codes is not None
    return slow * (codes / num_codes) ** (1 / mobility_of("speed_of", rule, dim, batch_size).exponent)


@cache
def codes_left(rule_name: str, name: str, dim: int, num_codes: int, seed: int) -> int:
    """The codes that are left of three times as many as the law has."""
    cloud, width, direction = shape(name, dim)
    rule, batch_size = mover(rule_name, dim, num_codes)
    speed = speed_of(rule, name, dim, num_codes, batch_size)
    drift = Steady(tuple(speed * e for e in direction), 0.0)
    steps = math.ceil(WIDTHS * width / speed)
    return settled(rule, cloud, drift, steps, EXCESS * num_codes, seed, batch_size)[1]


def mean_over_law(rule: str, name: str, dim: int, effort: Effort, seed: int) -> list[float]:
    """Codes over the law, geometric mean over the sizes, of each replicate."""
    sizes = NUMBERS[rule][:1] if effort == "quick" else NUMBERS[rule]
    seeds = range(REPLICATES * seed, REPLICATES * (seed + 1))
    return [float(np.exp(np.mean([np.log(codes_left(rule, name, dim, K, one) / K) for K in sizes]))) for one in seeds]


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
