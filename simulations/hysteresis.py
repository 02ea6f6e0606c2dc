"""A drift that speeds up and slows down again: lost codes do not come back to plain VQ, and do to NSVQ.

A uniform cloud in one dimension moves by v(t) = V sin^2(pi t / T) per update until T, V being 20 times what 16 codes
can follow, slowly enough for codes to fall out as the law says, and is then stationary. NSVQ's kernel is half as wide
as the cloud, and shrinks once the drift is over. A row per rule, run and record: the codes alive, in runs and by the
mean motion (run null).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl

import vqtheory as vq
from simulations.lineup import ordered
from simulations.tables import run_all
from vqtheory.claims.laws.transients import BATCH, CODES, STEP_SIZE
from vqtheory.rules import NSVQ, VQ
from vqtheory.schedules import exponential
from vqtheory.simulation.alive import count_alive, optimum
from vqtheory.streams import Drift, Stream, Uniform
from vqtheory.streams.motion import Motion
from vqtheory.theory import critical_speed, mean_motion

CRITICAL = critical_speed(CODES, STEP_SIZE)
FASTEST = 20  # v_c
UNIT = round(CODES**3 / STEP_SIZE)  # updates
PERIOD, PERIOD_FAST = 24 * UNIT, 3 * UNIT
SEEDS, SEEDS_FAST = 8, 1
REST = 0.5  # of T, after the drift
RECORDS = 120


@dataclass(frozen=True, repr=False)
class Swell(Drift):
    """A translation with the speed v(t)."""

    period: int

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        t = np.clip(np.arange(start, start + steps), 0, self.period)
        distance = FASTEST * CRITICAL * (t / 2 - self.period / (4 * math.pi) * np.sin(2 * math.pi * t / self.period))
        return Motion.none(steps, dim)._replace(shift=np.repeat(distance[:, None], dim, axis=1))


def speed(t: float, period: int) -> float:
    """v(t) / v_c."""
    return FASTEST * math.sin(math.pi * min(t / period, 1)) ** 2


def rules(period: int) -> dict[str, VQ | NSVQ]:
    """The rules, with what shrinks after the drift made to."""
    return {"VQ": VQ(STEP_SIZE), "NSVQ gaussian": NSVQ(STEP_SIZE, exponential(0.5, period / 40, begin=period))}


def run(fast: bool = False) -> pl.DataFrame:
    """The table."""
    period, seeds = (PERIOD_FAST, SEEDS_FAST) if fast else (PERIOD, SEEDS)
    runs = product(ordered(rules(period)), [None, *range(seeds)])
    return run_all(simulate, [(rule, seed, period, follower) for (rule, follower), seed in runs], "hysteresis")


def simulate(name: str, seed: int | None, period: int, follower: VQ | NSVQ) -> list[dict]:
    """The records of one run, or of the mean motion if there is no seed."""
    alive = by_mean_motion(follower, period) if seed is None else by_samples(follower, seed, period)
    return [
        {"rule": name, "run": seed, "time": step / period, "speed": speed(step, period), "alive": count}
        for step, count in alive
    ]


def by_mean_motion(rule: VQ | NSVQ, period: int) -> list[tuple[float, int]]:
    """Update and codes alive, by the mean-field equations."""
    motion = mean_motion(
        rule,
        Uniform(dim=1),
        optimum(CODES),
        (1 + REST) * period,
        speed=lambda t: CRITICAL * speed(t, period),
        records=RECORDS,
    )
    return [(float(time), int(np.sum(alive))) for time, alive in zip(motion.times, motion.alive, strict=True)]


def by_samples(rule: VQ | NSVQ, seed: int, period: int) -> list[tuple[float, int]]:
    """Update and codes alive, in a run."""
    stream, alive = Stream(Uniform(dim=1), Swell(period)), list[tuple[float, int]]()

    def on_record(step: int, codes: np.ndarray, row: dict) -> None:
        alive.append((step, count_alive(stream, codes, step)))

    vq.simulate(
        rule, stream, codes=optimum(CODES), steps=int((1 + REST) * period), batch_size=BATCH,
        seed=seed, records=RECORDS, progress=False, on_record=on_record,
    )  # fmt: skip
    return alive
