"""Drifts that change, and come to rest: how many codes are alive meanwhile and afterwards.

In one dimension the law is the mean motion of every code. In a ball it is the limit of many layers of codes, of which
there are few here: the codes that carry the mass of a ball that grows exceed it by a share of about 1.4 K^(-1/D).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy import stats

from vqtheory.assign import nearest
from vqtheory.claims.laws.provenance import DERIVED, SEEN
from vqtheory.claims.laws.transients import CENTRED
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.measure import carrying
from vqtheory.reference import lloyd
from vqtheory.rules import VQ
from vqtheory.simulation.alive import count_alive, optimum, shares
from vqtheory.simulation.follow import follow
from vqtheory.streams import Fading, Latents, Oscillation, Scaling, Stream
from vqtheory.streams.base import Drift
from vqtheory.theory import surviving_codes, transient_codes

LAW = "changing drift"
GROWTH = 40.0  # the factor by which latents of an encoder grow from its initialization on
CODES, STEPS, BATCH = 64, 60_000, 128
DRIFTS = (
    Scaling(math.log(GROWTH) / 10_000, limit=GROWTH),
    Fading(1e-4, half_life=20_000),
    Oscillation(2.0, period=20_000),
    Scaling(-1e-4, limit=0.1) + Oscillation(0.5, period=40_000),
)
DENSITIES = (stats.uniform(), stats.norm())
BALL_CODES, BALL_GROWS = 256, 8000  # codes in two dimensions, and updates in which the ball grows fortyfold
BALL_TIMES = (4000, 8000, 9000, 12_000, 20_000, 32_000)


def motion_of(drift: Drift, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The velocity and the growth of each update, as they would be measured: from the place and the size of the cloud."""
    motion = drift.motion(0, steps + 1, 1, seed=0)
    size = np.exp((motion.log_factor[1:] + motion.log_factor[:-1]) / 2)
    return np.diff(motion.shift[:, 0]) / size, np.diff(motion.log_factor)


def excess(drift: Drift, seed: int, records: int = 12) -> list[float]:
    """Codes alive, and codes that carry 99 % of the mass, less those of the law, at equal distances in time."""
    stream, codes, done, differences = Stream(CENTRED, drift), optimum(CODES) - 0.5, 0, []
    velocity, growth = motion_of(drift, STEPS)
    law = transient_codes(CODES, 1.0, velocity=velocity, growth=growth, records=records)
    for record in range(1, records + 1):
        time = int(law.times[record])
        codes = follow(VQ(1.0), stream, codes, time - done, seed, BATCH, done).codes
        differences.append(count_alive(stream, codes, time) - law.alive[record])
        differences.append(carrying(shares(stream, codes, time)) - law.carrying[record])
        done = time
    return differences


@claim(
    key="changing-drift-1d",
    statement="While a cloud in one dimension grows, shrinks, speeds up and comes to rest, as many of 64 codes are alive "
    "and carry its mass as its motion says (simulated less predicted)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(-1.0, 1.0),
    seen=SEEN,
)
def excess_of_all(effort: Effort, seed: int) -> list[float]:
    """Simulated less predicted codes at twelve times of four drifts."""
    drifts = DRIFTS[:2] if effort == "quick" else DRIFTS
    return [difference for i, drift in enumerate(drifts) for difference in excess(drift, seed * 100 + i)]


@cache
def disk() -> Latents:
    """A uniform ball of two dimensions, as many latents."""
    random = np.random.default_rng(0)
    angle, radius = 2 * np.pi * random.random(2**17), np.sqrt(random.random(2**17))
    return Latents(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))


def over_law(seed: int) -> list[float]:
    """Codes that carry the mass of the disk over those of the law, while it grows and after it."""
    stream, done, ratios = Stream(disk(), Scaling(math.log(GROWTH) / BALL_GROWS, limit=GROWTH)), 0, []
    _, growth = motion_of(stream.drift, BALL_TIMES[-1])
    law = transient_codes(BALL_CODES, 1.0, growth=growth, dim=2, records=BALL_TIMES[-1] // 1000)
    codes = lloyd(disk().data[:20_000], BALL_CODES, restarts=1).codes
    for time in BALL_TIMES:
        codes = follow(VQ(1.0), stream, codes, time - done, seed, 64, done).codes
        at_rest = stream.at(time).now.invert(codes[None], stream.source.mean)[0]
        hits = np.bincount(nearest(disk().data, at_rest)[0], minlength=BALL_CODES)
        ratios.append(carrying(hits) / law.carrying[law.times == time][0])
        done = time
    return ratios


@claim(
    key="changing-drift-2d",
    statement="While a disk of latents grows fortyfold and comes to rest, as many of 256 codes carry its mass as its growth "
    "says (ratio, within a quarter)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.75, 1.25),
    seen=SEEN,
)
def ratios_of_disk(effort: Effort, seed: int) -> list[float]:
    """Carrying codes over the law at six times."""
    return [ratio for i in range(1 if effort == "quick" else 4) for ratio in over_law(seed * 100 + i)]


def random_speeds(random: np.random.Generator) -> np.ndarray:
    """The speed at each of 20,000 updates: stretches of any length and speed, in a random order, and rest."""
    speeds = np.repeat(10 ** random.uniform(-5, -3, size=8), random.multinomial(15_000, np.full(8, 1 / 8)))
    return np.append(speeds, np.zeros(5000))


@claim(
    key="rest-keeps-survivors",
    statement="A drift of any speeds that has come to rest leaves at least the survivors of its fastest stretch (codes "
    "above them, uniform and normal distribution)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, np.inf),
)
def surplus(effort: Effort, seed: int) -> list[float]:
    """Codes alive after speeds at random less the survivors of the largest of them, by the mean motion."""
    random, codes = np.random.default_rng(seed), []
    for law in DENSITIES:
        for _ in range(3 if effort == "quick" else 12):
            speeds = random_speeds(random)
            alive = transient_codes(24, 1.0, velocity=speeds, density=law, records=1).alive[-1]
            codes.append(alive - surviving_codes(speeds.max(), 1.0, num_codes=24, density=law))
    return codes


CLAIMS = [excess_of_all, ratios_of_disk, surplus]
