"""A residual stack of two levels: what of a drift the first passes on, and which of them loses its codes first.

The second level is given the rest r = x - c(x) of the first. Plain VQ moves its codes by eta / B times the rests of their
latents, so that sum_k dc_k = eta E[r] in every update, for any distribution in any dimension. In a steady translation at v
the A codes that are alive move with the cloud, and dead ones do not move: E[r] = A v / eta. Under EMA each of them trails
the mean of its cell by v / (1 - gamma), and so E[r] = v / (1 - gamma). Either is a constant: the rest of a steady lag lies
ahead of 0, and stands still. A cloud that shrinks at a rate rho is another matter. Both rules commute with scaling, so that
in the frame of the cloud all is steady, and what is left shrinks at rho as well.

By the laws of one codebook a translation is as fast as it is in widths of the cloud, and a rate is a rate at any size. So a
translation is at stake at the first level alone, and shrinking at the level with the most codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from vqtheory.assign import nearest
from vqtheory.claims.laws.provenance import DERIVED
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.measure import cells
from vqtheory.protocols import Batches, Rule
from vqtheory.rules import EMA, VQ
from vqtheory.simulation.alive import optimum
from vqtheory.streams import Scaling, Stream, Translation, Uniform
from vqtheory.streams.base import Drift
from vqtheory.theory import critical_shrink_rate, critical_speed, ema_critical_speed, live_codes

LAW = "stacks"
BATCH, ETA, DECAY = 256, 1.0, 0.9
CASES = (((8, 16), 0.8), ((8, 32), 3.0), ((12, 12), 10.0))  # codes of the levels, and a speed over the first level's limit
CHUNK = 500  # updates whose latents are drawn at once


class Levels(NamedTuple):
    """What the two levels were given in each update, and how many of their codes are alive at the end."""

    means: np.ndarray  # [T, 2]
    spreads: np.ndarray  # [T, 2]
    alive: np.ndarray  # [2]


def follow_levels(rule: Rule, drift: Drift, sizes: tuple[int, int], steps: int, seed: int) -> Levels:
    """Two levels, both best at rest, on a uniform cloud that drifts."""
    stream = Stream(Uniform(dim=1), drift)
    rest_at_rest = (optimum(sizes[1]) - 0.5) / sizes[0]
    states = [rule.init(optimum(sizes[0]), seed), rule.init(rest_at_rest, seed)]
    means, spreads = np.empty((steps, 2)), np.empty((steps, 2))
    for start in range(0, steps, CHUNK):
        latents = stream.draw(start, min(CHUNK, steps - start), BATCH, seed).x
        for step, x in enumerate(latents, start):
            inputs = [x, rest_of(x, states[0].codes)]
            means[step], spreads[step] = np.mean(inputs, axis=1)[:, 0], np.std(inputs, axis=1)[:, 0]
            states = [rule.advance(state, Batches(rows[None]))[0] for state, rows in zip(states, inputs, strict=True)]
    fresh = stream.at(steps, seed).sample(200 * max(sizes))
    inputs = [fresh, rest_of(fresh, states[0].codes)]
    hits = [cells(x[: 200 * size], state.codes).hits for x, size, state in zip(inputs, sizes, states, strict=True)]
    alive = [np.count_nonzero(of_level) for of_level in hits]
    return Levels(means, spreads, np.array(alive))


def rest_of(latents: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """What the nearest codes leave of latents [N, 1]."""
    return latents - codes[nearest(latents, codes)[0]]


def parts(values: np.ndarray) -> tuple[float, float, int]:
    """Means over the third quarter of a run and over the last, and how many updates lie between."""
    quarter = len(values) // 4
    return float(values[-2 * quarter : -quarter].mean()), float(values[-quarter:].mean()), quarter


class Translated(NamedTuple):
    """A run under a translation."""

    speed: float
    rule: Rule
    levels: Levels

    @property
    def ahead(self) -> float:
        """How far the rest lies ahead of 0, by the law."""
        if isinstance(self.rule, EMA):
            return self.speed / (1 - DECAY)
        return self.levels.alive[0] * self.speed / ETA


class Limits(NamedTuple):
    """Up to which speed, in widths of a uniform cloud, and which rate of shrinking a rule keeps all codes: as K^-power."""

    speed: float
    rate: float
    power: int


def limits(num_codes: int) -> dict[Rule, Limits]:
    """Of one codebook, for each rule; of EMA the rate is that of many codes, pi^2 (1 - gamma) / (4 K^2)."""
    speeds = float(critical_speed(num_codes, ETA)), float(ema_critical_speed(num_codes, DECAY))
    rates = float(critical_shrink_rate(num_codes, ETA)), math.pi**2 * (1 - DECAY) / (4 * num_codes**2)
    return {VQ(ETA): Limits(speeds[0], rates[0], 3), EMA(decay=DECAY): Limits(speeds[1], rates[1], 2)}


@cache
def translated(effort: Effort, seed: int) -> list[Translated]:
    """Runs of three widths, or of 1,500 updates if that is more."""
    runs = []
    for i in range(2 if effort == "quick" else 4):
        for sizes, factor in CASES:
            for rule, limit in limits(sizes[0]).items():
                speed = factor * limit.speed
                steps = max(1500, math.ceil(3 / speed))
                levels = follow_levels(rule, Translation(speed), sizes, steps, 1000 * seed + i)
                runs.append(Translated(speed, rule, levels))
    return runs


@claim(
    key="stack-rest-stands-still",
    statement="The speed of what the first level of a stack leaves of a steady translation, over that of the translation "
    "(VQ and EMA, 0.8 to 10 times as fast as all codes of the first level can follow)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=0.0,
    resolution=0.002,
    runs="translated stacks",
)
def passed_on(effort: Effort, seed: int) -> list[float]:
    """Motion of the rest between the last two quarters of a run, over the motion of the latents."""
    shares = []
    for run in translated(effort, seed):
        before, after, updates = parts(run.levels.means[:, 1])
        shares.append((after - before) / (run.speed * updates))
    return shares


@claim(
    key="stack-rest-is-ahead",
    statement="The mean of what the first level of a stack leaves of a steady translation, over A v / eta of VQ with A "
    "codes alive, and over v / (1 - gamma) of EMA",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.03,
    runs="translated stacks",
)
def ahead(effort: Effort, seed: int) -> list[float]:
    """The mean of the rest in the last quarter of a run, over the law."""
    return [parts(run.levels.means[:, 1])[1] / run.ahead for run in translated(effort, seed)]


@claim(
    key="stack-rest-shrinks-along",
    statement="The rate at which what the first level of a stack leaves of a shrinking cloud shrinks, over that of the "
    "cloud (VQ and EMA, 0.8 to 6 times as fast as all codes of the first level can follow)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=1.0,
    resolution=0.05,
)
def shrunk_along(effort: Effort, seed: int) -> list[float]:
    """Fall of the logarithm of the rest's spread between the last two quarters of a run, over the cloud's."""
    shares = []
    for i in range(2 if effort == "quick" else 4):
        for sizes, factor in (((8, 16), 0.8), ((8, 32), 2.0), ((12, 12), 6.0)):
            for rule, limit in limits(sizes[0]).items():
                rate = factor * limit.rate
                levels = follow_levels(rule, Scaling(-rate), sizes, max(1500, math.ceil(6 / rate)), 1000 * seed + i)
                before, after, updates = parts(levels.spreads[:, 1])
                shares.append(math.log(before / after) / (rate * updates))
    return shares


@claim(
    key="stack-first-level-to-fall",
    statement="Where a drift is to halve the codes of one level of a stack, by the law and the motion of the level's own "
    "input: the share alive at the level that is to fall first, less the share at the other, -1/2 to 0.2 (VQ and EMA; "
    "translating: the first; shrinking: the one with more codes)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(-0.7, -0.3),
    seen=range(2),
)
def falls_first(effort: Effort, seed: int) -> list[float]:
    """Differences of shares at the end of runs whose drift leaves about half of the codes at one level or the other."""
    differences = []
    for i in range(1 if effort == "quick" else 2):
        for rule, drift, sizes, steps in drifts_of_both_kinds():
            levels = follow_levels(rule, drift, sizes, steps, 1000 * seed + i)
            first = int(np.argmin([predicted_share(rule, levels, level, sizes[level]) for level in (0, 1)]))
            alive = levels.alive / sizes
            differences.append(float(alive[first] - alive[1 - first]))
    return differences


def drifts_of_both_kinds() -> Iterator[tuple[Rule, Drift, tuple[int, int], int]]:
    """Translations by three widths that leave half of the first level, and clouds that shrink by e^6 and halve the larger.

    There are more codes at the second level, at the first, or, in a translation alone, as many.
    """
    for sizes in ((6, 16), (16, 6), (16, 16)):
        for rule, limit in limits(sizes[0]).items():
            speed = 2**limit.power * limit.speed
            yield rule, Translation(speed), sizes, math.ceil(3 / speed)
        if sizes[0] != sizes[1]:
            for rule, limit in limits(max(sizes)).items():
                rate = 2**limit.power * limit.rate
                yield rule, Scaling(-rate), sizes, math.ceil(6 / rate)


def predicted_share(rule: Rule, levels: Levels, level: int, num_codes: int) -> float:
    """The share of a level's codes that the law of one codebook keeps, by its input's motion in the last half of a run."""
    (before, after, updates), spreads = parts(levels.means[:, level]), parts(levels.spreads[:, level])
    cloud = stats.uniform(scale=math.sqrt(12) * spreads[1])
    motion: dict[str, Any] = {"velocity": (after - before) / updates, "growth": math.log(spreads[1] / spreads[0]) / updates}
    knob: dict[str, Any] = {"rule": rule} if isinstance(rule, EMA) else {"step_size": ETA}
    codes = live_codes(cloud, **motion, **knob).codes
    assert codes is not None  # in one dimension there is an answer
    return min(1.0, codes / num_codes)


CLAIMS = [passed_on, ahead, shrunk_along, falls_first]
