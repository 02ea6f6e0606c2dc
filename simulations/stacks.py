"""Which level of a residual stack loses its codes first: each level's own drift and spread, a replay, and what happens.

Eight levels of 1,024 codes on latents like the frames of sound: a Gaussian whose variances fall as 1/j over eight
dimensions, as a pink spectrum, times a gain of 6 dB deviation, as of speech that is loud or quiet, which makes the
tails heavy. Their unit is their own root mean squared length. They translate, shrink, or stay.

A row per run, level and record: codes used among 16,384 fresh latents, the spread of the level's own input, and how fast the
mean of that input has moved per update since the record before. At the last record also what a replay keeps: the rule alone,
simulated on the inputs that the level was given of 2,048 latents, and counted on these, beside the same count of the stack.
Frames of a replay stand until the next: a latent that changes its cell above jumps, and passes no point between.

In "EMA, first level carried" the codes of the first level ride on the latents, as by `Transport` with a dense probe, and
those of the other levels do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import vqtheory as vq
from simulations.tables import run_all
from vqtheory.assign import nearest
from vqtheory.protocols import Batches, Rule
from vqtheory.rules import EMA, NSVQ, TrainedVQ
from vqtheory.rules.base import declared
from vqtheory.streams import Recorded

DIM, LEVELS, CODES, BATCH = 8, 8, 1024, 512
STEPS, RECORDS, EVERY = 400, 20, 5
FRESH, PROBE = 16_384, 2048
GAIN = 6.0  # dB
SEEDS, SEEDS_FAST = 1, 1
DRIFTS = (("stationary", 0.0), ("translating", 0.003), ("translating", 0.01), ("translating", 0.03), ("shrinking", 0.005))
RULES: dict[str, Rule] = {
    "EMA": EMA(),
    "VQ with Adam": TrainedVQ(0.002),
    "VQ with Adam, ten times the rate": TrainedVQ(0.02),
    "NSVQ": NSVQ(),
    "EMA, first level carried": EMA(),
}


class Place(NamedTuple):
    """Where the cloud is: y = scale x + shift, in all coordinates alike."""

    scale: float
    shift: float

    @classmethod
    def of(cls, drift: str, rate: float, step: int) -> Place:
        """After so many updates."""
        if drift == "shrinking":
            return cls(float(np.exp(-rate * step)), 0.0)
        return cls(1.0, rate * step / DIM**0.5)

    def latents(self, x: np.ndarray) -> np.ndarray:
        """The cloud's."""
        return self.scale * x + self.shift


def run(fast: bool = False) -> pl.DataFrame:
    """The table."""
    drifts, seeds = (DRIFTS[:1] + DRIFTS[2:3], SEEDS_FAST) if fast else (DRIFTS, SEEDS)
    return run_all(simulate, ((*drift, rule, seed) for seed, drift, rule in product(range(seeds), drifts, RULES)), "stacks")


def sound(number: int, seed: int) -> np.ndarray:
    """Latents [number, D] of root mean squared length 1."""
    random = np.random.default_rng(seed)
    gain = 10 ** (random.normal(0, GAIN, (number, 1)) / 20)
    variances = 1 / np.arange(1, DIM + 1)
    moment = np.exp(2 * (GAIN * np.log(10) / 20) ** 2)  # of the gain's square
    return gain * random.standard_normal((number, DIM)) * np.sqrt(variances / (variances.sum() * moment))


def simulate(drift: str, rate: float, name: str, seed: int) -> list[dict]:
    """One run."""
    stack = Stack(RULES[name], "carried" in name, seed)
    probe, fresh = sound(PROBE, 1000 + seed), sound(FRESH, 2000 + seed)
    first, frames, records = [state.codes for state in stack.states], [], []
    for step in range(STEPS + 1):
        place = Place.of(drift, rate, step)
        stack.follow(Place.of(drift, rate, max(0, step - 1)), place)
        if step % EVERY == 0:
            frames.append([rest for rest, _ in stack.descend(place.latents(probe))])
        if step % (STEPS // RECORDS) == 0:
            records.append(seen(stack, place.latents(fresh)))
        if step < STEPS:
            stack.update(place.latents(sound(BATCH, 10_000 * (1 + seed) + step)))
    rows = rows_of(records)
    chosen = [len(np.unique(assignment)) for _, assignment in stack.descend(place.latents(probe))]
    for row, used, level, codes in zip(rows[-LEVELS:], chosen, zip(*frames, strict=True), first, strict=True):
        row |= {"on_probe": used}
        if not (stack.carried and row["level"] == 0):  # which its rule alone does not move
            row |= {"replayed": replayed(RULES[name], np.stack(level), codes)}
    run = {"rule": name, "drift": drift, "rate": rate, "seed": seed, "on_probe": None, "replayed": None}
    return [run | row for row in rows]


class Stack:
    """Levels by one rule; the codes of the first may ride on the latents."""

    def __init__(self, rule: Rule, carried: bool, seed: int) -> None:
        self.rule, self.carried = rule, carried
        self.states: list[Any] = []
        rest, order = sound(4 * CODES, 3000 + seed), np.random.default_rng(seed)
        for level in range(LEVELS):  # each on what the codes above leave of latents that they are not
            codes = rest[order.permutation(len(rest))[:CODES]]
            self.states.append(rule.init(codes, seed + level))
            rest = rest - others(rest, codes)

    def descend(self, latents: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What each level is given, [N, D], and the codes that it chooses, [N]."""
        rest = latents
        for state in self.states:
            assignment = nearest(rest, state.codes)[0]
            yield rest, assignment
            rest = rest - state.codes[assignment]

    def follow(self, before: Place, after: Place) -> None:
        """The encoder has been updated: transport, by the exact flow."""
        if self.carried:
            state = self.states[0]
            at_rest = {name: (getattr(state, name) - before.shift) / before.scale for name in declared(self.rule, "places")}
            self.states[0] = state._replace(**{name: after.latents(codes) for name, codes in at_rest.items()})

    def update(self, latents: np.ndarray) -> None:
        """All levels by one batch [B, D]."""
        inputs = [rest for rest, _ in self.descend(latents)]
        self.states = [
            self.rule.advance(state, Batches(rest[None]))[0] for state, rest in zip(self.states, inputs, strict=True)
        ]


def others(rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """For each row [N, D] the nearest code at another place, [N, D]."""
    nearer = []
    for part in np.array_split(rows, max(1, len(rows) // 256)):
        squared = ((part[:, None] - codes) ** 2).sum(axis=2)
        nearer.append(codes[np.where(squared > 0, squared, np.inf).argmin(axis=1)])
    return np.concatenate(nearer)


def seen(stack: Stack, latents: np.ndarray) -> list[dict]:
    """What each level has of fresh latents [N, D]: codes used, spread and mean of its input."""
    return [
        {"used": len(np.unique(assignment)), "spread": float(np.sqrt(rest.var(axis=0).sum())), "mean": rest.mean(axis=0)}
        for rest, assignment in stack.descend(latents)
    ]


def rows_of(records: list[list[dict]]) -> list[dict]:
    """A row for each record and level, with the speed of the level's mean since the record before."""
    every, rows = STEPS // RECORDS, []
    for i, (before, now) in enumerate(zip([records[0], *records[:-1]], records, strict=True)):
        for level, (was, level_now) in enumerate(zip(before, now, strict=True)):
            speed = float(np.linalg.norm(level_now["mean"] - was["mean"])) / every if i else None
            row = {"step": i * every, "level": level, "used": level_now["used"], "spread": level_now["spread"]}
            rows.append(row | {"speed": speed})
    return rows


def replayed(rule: Rule, frames: np.ndarray, codes: np.ndarray) -> int:
    """Codes used of the last frame's latents, after the rule alone has followed a level's inputs [T, N, D]."""
    stream = Recorded(frames, every=EVERY)
    steps = EVERY * (len(frames) - 1)
    run = vq.simulate(rule, stream, codes=codes, steps=steps, batch_size=BATCH, seed=0, records=1, progress=False)
    return len(np.unique(nearest(frames[-1].astype(run.codes.dtype), run.codes)[0]))
