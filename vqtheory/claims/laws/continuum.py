"""Drifts that change, and come to rest: how many codes are alive meanwhile and afterwards, by samples.

In one dimension the law is the mean motion of every code. In a ball it is the limit of many layers of codes, of which
there are few here: a codebook of 256 has eight layers from the centre to the surface.
"""

from __future__ import annotations

import math
from functools import cache

from typing import NamedTuple

import numpy as np

from vqtheory.assign import nearest
from vqtheory.claims.laws.collapse import living, shares
from vqtheory.claims.laws.provenance import DERIVED, SEEN
from vqtheory.claims.laws.stationary import optimum
from vqtheory.claims.laws.transients import CENTRED
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.measure import carrying
from vqtheory.reference import lloyd
from vqtheory.rules import VQ
from vqtheory.simulation.follow import follow
from vqtheory.streams import Fading, Latents, Oscillation, Scaling, Stream
from vqtheory.streams.base import Drift
from vqtheory.theory import surviving_codes
from vqtheory.theory.continuum import transient_codes

LAW = "changing drift"
CODES, STEPS, BATCH = 64, 60_000, 128
POINTS = 2**17
GROWTH = 40.0  # the factor by which latents of an encoder grow from its initialization on
DRIFTS = (
    Scaling(math.log(GROWTH) / 10_000, limit=GROWTH),
    Fading(1e-4, half_life=20_000),
    Oscillation(2.0, period=20_000),
    Scaling(-1e-4, limit=0.1) + Oscillation(0.5, period=40_000),
)


def motion_of(drift: Drift, steps: int, dim: int = 1) -> dict[str, np.ndarray]:
    """The velocity and the growth per update, as they would be measured: from the place and the size of the cloud."""
    motion = drift.motion(0, steps + 1, dim, seed=0)
    size = np.exp((motion.log_factor[1:] + motion.log_factor[:-1]) / 2)
    return {"velocity": np.diff(motion.shift[:, 0]) / size, "growth": np.diff(motion.log_factor)}


def excess(drift: Drift, seed: int, records: int = 12) -> list[float]:
    """Codes alive, and codes that carry 99 % of the mass, less those of the law, at equal distances in time."""
    stream, codes, done, differences = Stream(CENTRED, drift), optimum(CODES) - 0.5, 0, []
    law = transient_codes(CODES, 1.0, **motion_of(drift, STEPS), records=records)
    for time, alive, carried in list(zip(law.times.astype(int).tolist(), law.alive, law.carrying, strict=True))[1:]:
        codes = follow(VQ(1.0), stream, codes, time - done, seed, BATCH, done).codes
        differences.append(float(living(stream, codes, time) - alive))
        differences.append(float(carrying(shares(stream, codes, time)) - carried))
        done = time
    return differences


@claim(
    key="changing-drift-1d",
    statement="While a cloud in one dimension grows, shrinks, speeds up and comes to rest, as many of 64 codes are alive, and "
    "carry 99 % of the mass, as its motion says (simulated less predicted)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(-1.0, 1.0),
    seen=SEEN,
)
def line_excess(effort: Effort, seed: int) -> list[float]:
    """Simulated less predicted codes at twelve times of four drifts."""
    drifts = DRIFTS[:2] if effort == "quick" else DRIFTS
    return [difference for i, drift in enumerate(drifts) for difference in excess(drift, seed * 100 + i)]


@cache
def ball(dim: int) -> Latents:
    """A uniform ball about 0, as many latents."""
    random = np.random.default_rng(0)
    x = random.standard_normal((POINTS, dim))
    return Latents(x / np.linalg.norm(x, axis=1, keepdims=True) * random.random((POINTS, 1)) ** (1 / dim))


@cache
def settled(dim: int, num_codes: int) -> np.ndarray:
    """Codes of the ball at rest."""
    return lloyd(ball(dim).data[:20_000], num_codes, restarts=1).codes


def ratios(dim: int, num_codes: int, growth: float, steps: int, times: tuple[int, ...], seed: int) -> list[float]:
    """Codes that carry 99 % of the mass over those of the law, at times of a ball that grows for `steps` updates."""
    drift = Scaling(math.log(growth) / steps, limit=growth)
    stream, codes, done, measured = Stream(ball(dim), drift), settled(dim, num_codes), 0, []
    law = transient_codes(num_codes, 1.0, growth=motion_of(drift, times[-1], dim)["growth"], dim=dim, records=times[-1] // 500)
    for time in times:
        codes = follow(VQ(1.0), stream, codes, time - done, seed, 64, done).codes
        at_rest = stream.at(time).now.invert(codes[None], stream.source.mean)[0]
        hits = np.bincount(nearest(ball(dim).data, at_rest)[0], minlength=num_codes)
        measured.append(carrying(hits) / float(np.interp(time, law.times, law.carrying)))
        done = time
    return measured
