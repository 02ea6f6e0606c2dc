"""Clouds in one dimension that shrink, grow, jump, or drift ever more slowly: which codes are lost, and which come back.

A uniform cloud. Codes are counted as for a steady drift. Batches are large, so that little is left of the noise of
samples; the laws are those of the mean motion.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from vqtheory.claims.laws.provenance import DERIVED, PAPER, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.claims.threshold import threshold
from vqtheory.protocols import Rule
from vqtheory.rules import NSVQ, VQ
from vqtheory.schedules import exponential
from vqtheory.simulation.alive import count_alive, optimum
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
CENTRED = Distribution("uniform", loc=-0.5)  # a cloud that shrinks about 0 keeps all its digits


def keeps_all(num_codes: int, rate: float, seed: int) -> bool:
    """Whether a cloud that shrinks at a rate keeps the optimal quantizer's codes for 20 K^3 / eta updates."""
    stream, steps = Stream(CENTRED, Scaling(-rate)), 20 * num_codes**3
    end = follow(VQ(1.0), stream, optimum(num_codes) - 0.5, steps, seed, batch_size=1024)
    return count_alive(stream, end.codes, steps) == num_codes


def shrink_threshold(num_codes: int, seed: int) -> float:
    """The fastest rate at which no code is lost, over the law."""
    law = critical_shrink_rate(num_codes, 1.0)
    return threshold(lambda ratio: keeps_all(num_codes, ratio * law, seed), 0.8, 1.2, halvings=5)


@claim(
    key="shrink-threshold",
    statement="Codes in a shrinking cloud live up to the critical rate (measured over law, within a tenth, K = 4 to 16)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.9, 1.1),
)
def shrink_thresholds(effort: Effort, seed: int) -> list[float]:
    """The same for K = 4, 8 and, at full effort, 16."""
    sizes = (4, 8) if effort == "quick" else (4, 4, 4, 8, 8, 8, 16)
    return [shrink_threshold(num_codes, seed * 100 + i) for i, num_codes in enumerate(sizes)]


@claim(
    key="shrink-survivors",
    statement="Of a cloud that shrinks faster as many codes survive as could live (simulated less predicted, up to 50 "
    "rho_c)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(-1.0, 1.0),
)
def shrunk(effort: Effort, seed: int) -> list[float]:
    """(simulated - predicted survivors) of faster shrinking, in codes."""
    num_codes, batch_size = (16, 256) if effort == "quick" else (32, 512)
    excess = []
    for factor in (3.0, 10.0, 50.0):
        rate = factor * critical_shrink_rate(num_codes, 1.0)
        stream, steps = Stream(CENTRED, Scaling(-rate)), 2 * num_codes**3
        end = follow(VQ(1.0), stream, stream.at(0, seed).sample(num_codes), steps, seed, batch_size)
        excess.append(count_alive(stream, end.codes, steps) - shrink_surviving_codes(rate, 1.0))
    return excess


def grown(num_codes: int, factor: float, seed: int) -> tuple[Stream, np.ndarray, int]:
    """A cloud, its codes and the step, once it has grown by exp(18 factor), `factor` times faster than all keep up with."""
    stream, steps = Stream(CENTRED, Scaling(factor * 18 / num_codes**3)), num_codes**3
    return stream, follow(VQ(1.0), stream, stream.at(0, seed).sample(num_codes), steps, seed, 64).codes, steps


@claim(
    key="growth-kills-none",
    statement="A cloud that grows leaves no code behind (codes outside of it after a growth by exp(54) and more)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def outgrown(effort: Effort, seed: int) -> list[float]:
    """How many codes are outside of the cloud."""
    outside = []
    for factor in (3.0, 30.0):
        stream, codes, step = grown(32, factor, seed)
        outside.append(float(np.sum(np.abs(stream.at(step).now.invert(codes[None], CENTRED.mean)) > 0.5)))
    return outside


@claim(
    key="growth-crowds",
    statement="Of codes in a cloud that grows only (18 eta / rho)^(1/3) keep mass (measured over law, within 15 %)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.85, 1.15),
    seen=SEEN,
)
def uncrowded(effort: Effort, seed: int) -> list[float]:
    """Codes that keep mass over (18 eta / rho)^(1/3)."""
    cases = product((32,) if effort == "quick" else (32, 64), (2.0, 8.0), range(1 if effort == "quick" else 4))
    ratios = []
    for num_codes, factor, i in cases:
        stream, codes, step = grown(num_codes, factor, seed * 100 + i)
        ratios.append(count_alive(stream, codes, step) / uncrowded_codes(factor * 18 / num_codes**3, 1.0))
    return ratios


@claim(
    key="jump-survivors",
    statement="After a jump by d widths at least K - floor(K d) codes survive (survivors less that, mean motion and "
    "samples)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, np.inf),
)
def jumped(effort: Effort, seed: int) -> list[float]:
    """Survivors of a jump less the number that are sure to survive: by the mean motion, and by samples."""
    surplus, steps = [], 3 * 16**3
    for jump in (0.1, 0.3, 0.5, 0.8, 2.0):
        sure, stream = jump_surviving_codes(16, jump), Stream(Uniform(dim=1), Jump(at=0, by=jump))
        motion = mean_motion(VQ(1.0), Uniform(dim=1), optimum(16) - jump, steps, records=1)
        end = follow(VQ(1.0), stream, optimum(16), steps, seed, 64)
        surplus += [motion.alive[-1].sum() - sure, count_alive(stream, end.codes, steps) - sure]
    return surplus


FASTEST = (4.0, 10.0, 20.0)  # over v_c
CODES, STEP_SIZE, BATCH = 16, 0.25, 32


def faded(rule: Rule, factor: float, half_life: int, seed: int) -> int:
    """Codes alive ten half-lives after the drift began at `factor` times v_c."""
    stream = Stream(Uniform(dim=1), Fading(factor * critical_speed(CODES, STEP_SIZE), half_life))
    end = follow(rule, stream, stream.at(0, seed).sample(CODES), 10 * half_life, seed, BATCH)
    return count_alive(stream, end.codes, 10 * half_life)


def seeds(effort: Effort, seed: int) -> list[int]:
    """As many as the effort allows."""
    return [seed * 100 + i for i in range(1 if effort == "quick" else 5)]


@claim(
    key="vq-stays-collapsed",
    statement="When a drift has faded plain VQ has the survivors of its fastest stretch, or one more (codes above them)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.0, 1.0),
    seen=SEEN,
)
def left_of_plain(effort: Effort, seed: int) -> list[float]:
    """Codes that plain VQ is left with less the survivors of the fastest stretch, which lasts as long as a fall-out."""
    half_life, surplus = 4 * round(CODES**3 / STEP_SIZE), []
    for one, factor in product(seeds(effort, seed), FASTEST):
        speed = factor * critical_speed(CODES, STEP_SIZE)
        law = surviving_codes(speed, STEP_SIZE, num_codes=CODES, batch_size=BATCH, steps=half_life)
        surplus.append(faded(VQ(STEP_SIZE), factor, half_life, one) - law)
    return surplus


@claim(
    key="nsvq-has-no-hysteresis",
    statement="When a drift has faded, and then a kernel of half the cloud's width has shrunk, NSVQ uses all codes again "
    "(of 16)",
    source=PAPER,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=float(CODES),
)
def left_of_nsvq(effort: Effort, seed: int) -> list[float]:
    """Codes that NSVQ uses in the end, its kernel having shrunk from half the cloud's width after the drift."""
    half_life = round(CODES**3 / STEP_SIZE)
    rule = NSVQ(STEP_SIZE, exponential(0.5, half_life / 2, begin=2 * half_life))
    return [faded(rule, factor, half_life, one) for one, factor in product(seeds(effort, seed), FASTEST[::2])]


CLAIMS = [
    shrink_thresholds,
    shrunk,
    outgrown,
    uncrowded,
    jumped,
    left_of_plain,
    left_of_nsvq,
]
