"""Clouds on the line that shrink, grow, jump, or drift ever more slowly: which codes are lost, and which come back.

A uniform cloud. Codes are counted as for a steady drift. Batches are large, so that little is left of the noise of
samples; the laws are those of the mean motion.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from vqtheory.claims.laws.collapse import living
from vqtheory.claims.laws.stationary import optimum
from vqtheory.claims.statement import Claim, Effort, Exact, Range
from vqtheory.claims.threshold import threshold
from vqtheory.rules import NSVQ, VQ
from vqtheory.schedules import exponential
from vqtheory.simulation.follow import follow
from vqtheory.streams import Distribution, Fading, Jump, Scaling, Stream, Uniform
from vqtheory.theory import (
    critical_shrink_rate,
    critical_speed,
    jump_surviving_codes,
    mean_motion,
    shrink_surviving_codes,
    surviving_codes,
    uncrowded_codes,
)

LAW = "transients"
DERIVED = "derived here"
CENTRED = Distribution("uniform", loc=-0.5)  # a cloud that shrinks about 0 keeps all its digits


def keeps_all(num_codes: int, rate: float, seed: int) -> bool:
    """Whether a cloud that shrinks at a rate keeps the optimal quantizer's codes for 20 K^3 / eta updates."""
    stream, steps = Stream(CENTRED, Scaling(-rate)), 20 * num_codes**3
    end = follow(VQ(1.0), stream, optimum(num_codes) - 0.5, steps, seed, batch_size=1024)
    return living(stream, end.codes, steps) == num_codes


def shrink_threshold(num_codes: int, seed: int) -> float:
    """The fastest rate at which no code is lost, over the law."""
    law = critical_shrink_rate(num_codes, 1.0)
    return threshold(lambda ratio: keeps_all(num_codes, ratio * law, seed), 0.8, 1.2, halvings=5)


def shrink_thresholds(effort: Effort, seed: int) -> list[float]:
    """The same for K = 4, 8 and, at full effort, 16."""
    sizes = (4, 8) if effort == "quick" else (4, 4, 4, 8, 8, 8, 16)
    return [shrink_threshold(num_codes, seed * 100 + i) for i, num_codes in enumerate(sizes)]


def shrunk(effort: Effort, seed: int) -> list[float]:
    """(simulated - predicted survivors) of faster shrinking, in codes."""
    num_codes, batch_size = (16, 256) if effort == "quick" else (32, 512)
    found = []
    for factor in (3.0, 10.0, 50.0):
        rate = factor * critical_shrink_rate(num_codes, 1.0)
        stream, steps = Stream(CENTRED, Scaling(-rate)), 2 * num_codes**3
        end = follow(VQ(1.0), stream, stream.at(0, seed).sample(num_codes), steps, seed, batch_size)
        found.append(living(stream, end.codes, steps) - shrink_surviving_codes(rate, 1.0))
    return found


def grown(num_codes: int, factor: float, seed: int) -> tuple[Stream, np.ndarray, int]:
    """A cloud, its codes and the step, once it has grown by exp(18 factor), `factor` times faster than all keep up with."""
    stream, steps = Stream(CENTRED, Scaling(factor * 18 / num_codes**3)), num_codes**3
    return stream, follow(VQ(1.0), stream, stream.at(0, seed).sample(num_codes), steps, seed, 64).codes, steps


def outgrown(effort: Effort, seed: int) -> list[float]:
    """How many codes are outside of the cloud."""
    found = []
    for factor in (3.0, 30.0):
        stream, codes, step = grown(32, factor, seed)
        found.append(float(np.sum(np.abs(stream.at(step).now.invert(codes[None], CENTRED.mean)) > 0.5)))
    return found


def uncrowded(effort: Effort, seed: int) -> list[float]:
    """Codes that keep mass over (18 eta / rho)^(1/3)."""
    cases = product((32,) if effort == "quick" else (32, 64), (2.0, 8.0), range(1 if effort == "quick" else 4))
    found = []
    for num_codes, factor, i in cases:
        stream, codes, step = grown(num_codes, factor, seed * 100 + i)
        found.append(living(stream, codes, step) / uncrowded_codes(factor * 18 / num_codes**3, 1.0))
    return found


def jumped(effort: Effort, seed: int) -> list[float]:
    """Survivors of a jump less the number that are sure to survive: by the mean motion, and by samples."""
    found, steps = [], 3 * 16**3
    for jump in (0.1, 0.3, 0.5, 0.8, 2.0):
        sure, stream = jump_surviving_codes(16, jump), Stream(Uniform(dim=1), Jump(at=0, by=jump))
        motion = mean_motion(VQ(1.0), Uniform(dim=1), optimum(16) - jump, steps, records=1)
        end = follow(VQ(1.0), stream, optimum(16), steps, seed, 64)
        found += [motion.alive[-1].sum() - sure, living(stream, end.codes, steps) - sure]
    return found


FASTEST = (4.0, 10.0, 20.0)  # over v_c
CODES, STEP_SIZE, BATCH = 16, 0.25, 32


def faded(rule: Any, factor: float, half_life: int, seed: int) -> int:
    """Codes alive ten half-lives after the drift began at `factor` times v_c."""
    stream = Stream(Uniform(dim=1), Fading(factor * critical_speed(CODES, STEP_SIZE), half_life))
    end = follow(rule, stream, stream.at(0, seed).sample(CODES), 10 * half_life, seed, BATCH)
    return living(stream, end.codes, 10 * half_life)


def seeds(effort: Effort, seed: int) -> list[int]:
    """As many as the effort allows."""
    return [seed * 100 + i for i in range(1 if effort == "quick" else 5)]


def left_of_plain(effort: Effort, seed: int) -> list[float]:
    """Codes that plain VQ is left with less the survivors of the fastest stretch, which lasts as long as a fall-out."""
    half_life, found = 4 * round(CODES**3 / STEP_SIZE), []
    for one, factor in product(seeds(effort, seed), FASTEST):
        speed = factor * critical_speed(CODES, STEP_SIZE)
        law = surviving_codes(speed, STEP_SIZE, num_codes=CODES, batch_size=BATCH, steps=half_life)
        found.append(faded(VQ(STEP_SIZE), factor, half_life, one) - law)
    return found


def left_of_nsvq(effort: Effort, seed: int) -> list[float]:
    """Codes that NSVQ uses in the end, its kernel having shrunk from half the cloud's width after the drift."""
    half_life = round(CODES**3 / STEP_SIZE)
    rule = NSVQ(STEP_SIZE, exponential(0.5, half_life / 2, begin=2 * half_life))
    return [faded(rule, factor, half_life, one) for one, factor in product(seeds(effort, seed), FASTEST[::2])]


CLAIMS = [
    Claim(
        "shrink-threshold",
        "Codes in a shrinking cloud live up to the critical rate (measured over law, within a tenth, K = 4 to 16)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.9, 1.1),
        shrink_thresholds,
        resolution=0.2,
    ),
    Claim(
        "shrink-survivors",
        "Of a cloud that shrinks faster as many codes survive as could live (simulated less predicted, up to 50 rho_c)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(-1.0, 1.0),
        shrunk,
        resolution=2.0,
    ),
    Claim(
        "growth-kills-none",
        "A cloud that grows leaves no code behind (codes outside of it after a growth by exp(54) and more)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 0.0),
        outgrown,
        resolution=0.0,
    ),
    Claim(
        "growth-crowds",
        "Of codes in a cloud that grows only (18 eta / rho)^(1/3) keep mass (measured over law, within 15 %)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.85, 1.15),
        uncrowded,
        resolution=0.3,
    ),
    Claim(
        "jump-survivors",
        "After a jump by d widths at least K - floor(K d) codes survive (survivors less that, mean motion and samples)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, np.inf),
        jumped,
        resolution=16.0,
    ),
    Claim(
        "vq-stays-collapsed",
        "When a drift has faded plain VQ has the survivors of its fastest stretch, or one more (codes above them)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.0, 1.0),
        left_of_plain,
        resolution=1.0,
    ),
    Claim(
        "nsvq-has-no-hysteresis",
        "When a drift has faded, and then a kernel of half the cloud's width has shrunk, NSVQ uses all codes again (of 16)",
        "Lu et al., arXiv 2602.18896",
        LAW,
        Exact(worst=True),
        lambda: Range(float(CODES), float(CODES)),
        left_of_nsvq,
        resolution=0.0,
    ),
]
