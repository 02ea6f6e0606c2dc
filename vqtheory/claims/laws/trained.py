"""Codebooks in the hands of an optimizer: the law of Adam, momentum, and weight decay as a drift.

A threshold is found by bisection: the largest speed, as a multiple of the law's, at which a run over three widths
of the cloud, from the optimum without drift, loses no code. Large batches make runs with SGD nearly free of noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import stats

from vqtheory.claims.laws.provenance import DERIVED
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.claims.threshold import threshold
from vqtheory.protocols import Rule
from vqtheory.rules import TrainedVQ
from vqtheory.simulation.alive import optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Distribution, Mixture, Stationary, Stream, Translation, Uniform
from vqtheory.theory import adam_critical_speed, adam_effective_step, critical_speed, surviving_codes, weight_decay_speed

LAW = "trained"
WIDTHS = 3.0  # that the cloud moves in a run
CELLS = 1e-3  # Adam's learning rate in cells: its memory of 1,000 updates is short against the time to cross one
PAIRS = ((8, 64), (8, 256), (16, 256), (4, 64), (16, 1024), (32, 1024))  # codes, latents per update
STEP_SIZE, BATCH, DISTANCE = 0.1, 256, 30.0
MASSES, RATE, BATCH_OF_TWO = np.array([0.9, 0.1]), 0.003, 64  # of two codes under Adam


def survivors(rule: Rule, stream: Stream, codes: np.ndarray, steps: int, seed: int, batch_size: int) -> int:
    """How many codes win something in the last tenth of a run."""
    return int(np.sum(follow(rule, stream, codes, steps, seed, batch_size).hits > 0))


def bracket(all_live: Callable[[float], bool]) -> list[float]:
    """Both ends of where the threshold lies, as a multiple of the law's."""
    middle, reach = threshold(all_live, 0.5, 1.3, halvings=5), 0.8 / 2**6
    return [middle - reach, middle + reach]


def adam_threshold(num_codes: int, batch_size: int, seed: int, cells: float = CELLS) -> list[float]:
    """The simulated critical speed of Adam over the law's, at a learning rate of so many cells."""
    rate = cells / num_codes
    law = adam_critical_speed(num_codes, rate, batch_size)

    def all_live(ratio: float) -> bool:
        stream, steps = Stream(Uniform(dim=1), Translation(ratio * law)), math.ceil(WIDTHS / (ratio * law))
        return survivors(TrainedVQ(rate), stream, optimum(num_codes), steps, seed, batch_size) == num_codes

    return bracket(all_live)


def momentum_threshold(momentum: float, seed: int, num_codes: int = 6) -> list[float]:
    """The simulated critical speed of SGD with momentum over that of VQ with the step eta / (1 - mu)."""
    rule = TrainedVQ(STEP_SIZE * (1 - momentum), "sgd", momentum=momentum)
    law = critical_speed(num_codes, STEP_SIZE)

    def all_live(ratio: float) -> bool:
        stream, steps = Stream(Uniform(dim=1), Translation(ratio * law)), math.ceil(WIDTHS / (ratio * law))
        return survivors(rule, stream, optimum(num_codes), steps, seed, BATCH) == num_codes

    return bracket(all_live)


def decay_excess(num_codes: int, factor: float, seed: int) -> float:
    """(survivors of weight decay - survivors of the drift that it amounts to) over one code or 3 %, whichever is more.

    The cloud is stationary, 30 widths from the origin.
    """
    speed = factor * critical_speed(num_codes, STEP_SIZE)
    decay = speed / weight_decay_speed(STEP_SIZE, 1.0, DISTANCE + 0.5)
    law = surviving_codes(speed, STEP_SIZE)
    stream = Stream(Distribution(stats.uniform(DISTANCE, 1.0)), Stationary())
    steps = math.ceil(max(WIDTHS / speed, num_codes**3 / STEP_SIZE))
    rule = TrainedVQ(STEP_SIZE, "sgd", weight_decay=decay)
    return (survivors(rule, stream, DISTANCE + optimum(num_codes), steps, seed, BATCH) - law) / max(1.0, 0.03 * law)


@cache
def adam_trails(seed: int, speed: float) -> np.ndarray:
    """How far two codes of masses .9 and .1 trail under Adam, each the mean over its coordinates.

    They are at two clusters too far apart to share a latent, which drift along the diagonal of 16 dimensions.
    """
    dim, steps, centres = 16, 8000, np.outer([0.0, 100.0], np.eye(16)[0])
    stream = Stream(Mixture(centres, 1.0, MASSES), Translation(speed * math.sqrt(dim), np.ones(dim)))
    rule = TrainedVQ(RATE)
    state, trailed = follow(rule, stream, centres, steps // 2, seed, BATCH_OF_TWO).state, np.zeros(len(MASSES))
    for t in range(steps // 2, steps, 40):
        state, _ = rule.advance(state, stream.draw(t, 40, BATCH_OF_TWO, seed))
        trailed += np.mean(centres + (t + 40) * speed - state.codes, axis=1)
    return trailed / (steps // 80)


def adam_lags(seed: int, ratio: float = 0.1) -> list[float]:
    """The same over v / (eta p), at a speed of so many learning rates."""
    speed = ratio * RATE
    expected = speed / (adam_effective_step(RATE, MASSES, 1.0, BATCH_OF_TWO) * MASSES)
    return (adam_trails(seed, speed) / expected).tolist()


@claim(
    key="adam-effective-step",
    statement="Under Adam a code of mass p in a cell of spread s trails behind a slow drift as one of SGD with the step "
    "size (lr / s) sqrt(N / p), to 5 %: lag over v / (eta p), masses .9 and .1, v = lr / 10, lr = .003 s",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    predict=Range(0.95, 1.05),
)
def adam_steps(effort: Effort, seed: int) -> list[float]:
    """For each code and each of some runs."""
    return [ratio for run in range(40 if effort == "quick" else 60) for ratio in adam_lags(100 * seed + run)]


@claim(
    key="adam-threshold",
    statement="A codebook trained by Adam loses its first code at the speed v_c(K, N) of its own law (simulated over "
    "predicted, to a tenth, K = 4 to 32 codes, N = 64 to 1024 latents per update)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.9, 1.1),
)
def adam_thresholds(effort: Effort, seed: int) -> list[float]:
    """The bracket for each pair."""
    return [end for pair in PAIRS[: 2 if effort == "quick" else None] for end in adam_threshold(*pair, seed)]


@claim(
    key="momentum-threshold",
    statement="SGD with momentum mu has the critical speed of the step eta / (1 - mu) (simulated over predicted, to a "
    "tenth)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.9, 1.1),
)
def momentum_thresholds(effort: Effort, seed: int) -> list[float]:
    """The bracket for each momentum."""
    moments = (0.9,) if effort == "quick" else (0.5, 0.9, 0.99)
    return [end for momentum in moments for end in momentum_threshold(momentum, seed)]


@claim(
    key="weight-decay-is-a-drift",
    statement="Weight decay costs a codebook on a stationary cloud as many codes as a drift of speed eta lambda |c|: "
    "survivors less those of the collapse law, over one code or 3 %",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(-1.0, 1.0),
)
def decay_excesses(effort: Effort, seed: int) -> list[float]:
    """One for each speed, from just below the critical one."""
    num_codes, factors = (8, (0.9, 4.0)) if effort == "quick" else (16, (0.9, 2.0, 4.0, 8.0, 20.0))
    return [decay_excess(num_codes, factor, seed) for factor in factors]


CLAIMS = [adam_steps, adam_thresholds, momentum_thresholds, decay_excesses]
