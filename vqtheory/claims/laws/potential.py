"""The law of the potential: how many codes a translation, growth, shrinking, or translation and growth at once leave.

A run starts with three times as many codes as the law has. A translation goes over six widths of the cloud, growth until it
is e^20 times as large, since the surplus fades as it grows, and shrinking until it is e^10 times as small, each in legs: a
code that wins nothing in the last tenth of a leg is dead. The law counts codes that carry mass, so that a code counts here
whose share of the latents is at least a tenth of the mean; under growth up to a fifth more are alive, crowded about the
place that rests.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from vqtheory._base.config import Configured
from vqtheory.assign import nearest
from vqtheory.claims.laws.provenance import DERIVED, MEASURED
from vqtheory.claims.statement import Claim, Effort, Range, claim
from vqtheory.protocols import Rule
from vqtheory.rules import VQ
from vqtheory.simulation.follow import follow
from vqtheory.streams import Gaussian, Source, Stream, Uniform
from vqtheory.streams.base import Drift
from vqtheory.streams.motion import Motion
from vqtheory.theory import live_codes
from vqtheory.theory._clouds import ball_volume
from vqtheory.theory._flow import CARRIES

LAW = "every smooth drift"
STEP_SIZE, BATCH, EXCESS, LEGS = 0.5, 64, 3, 5
WIDTHS, GROWN, SHRUNK = 6, 20, 10  # how long a run is
REPLICATES = 8
SEEN = range(1)


@dataclass(frozen=True, repr=False)
class Skewed(Source):
    """A product of beta(2, 5) distributions: skewed, smooth, and 0 at its ends."""

    dim: int

    @property
    def mean(self) -> np.ndarray:
        return np.full(self.dim, 2 / 7)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        return generator.beta(2, 5, (size, self.dim))

    def density(self, x: np.ndarray) -> np.ndarray:
        inside = np.clip(x, 0, 1)
        return np.prod(30 * inside * (1 - inside) ** 4, axis=1)

    def distribution(self) -> object:
        return stats.beta(2, 5) if self.dim == 1 else None


@dataclass(frozen=True, repr=False)
class Ball(Source):
    """Uniform on the ball of radius 1."""

    dim: int

    @property
    def mean(self) -> np.ndarray:
        return np.zeros(self.dim)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        z = generator.standard_normal((size, self.dim))
        radius = generator.random((size, 1)) ** (1 / self.dim)
        return z / np.linalg.norm(z, axis=1, keepdims=True) * radius

    def density(self, x: np.ndarray) -> np.ndarray:
        return np.where(np.sum(x**2, axis=1) <= 1, 1 / ball_volume(self.dim), 0.0)


@dataclass(frozen=True, repr=False)
class Steady(Drift):
    """Growth at a rate, and a translation that keeps its proportion to the cloud: steady in the cloud's own frame."""

    velocity: tuple[float, ...]
    growth: float

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        time = np.maximum(np.arange(start, start + steps), 0)
        distance = np.expm1(self.growth * time) / self.growth if self.growth else time.astype(float)
        return Motion.none(steps, dim)._replace(
            shift=distance[:, None] * np.array(self.velocity), log_factor=self.growth * time
        )


SOURCES: dict[str, Callable[[int], Source]] = {"uniform": Uniform, "Gaussian": Gaussian, "skewed": Skewed}
DRIFTS = {"translation": (1, 0), "growth": (0, 1), "shrinking": (0, -1), "translation and growth": (1, 1)}
LAGS = {1: (1e-3, 3e-4), 2: (2e-3, 6e-4), 3: (2e-3, 1e-3), 4: (4e-3, 2e-3)}  # deviations per update and step size


@dataclass(frozen=True)
class Case(Configured):
    """One steady drift of one cloud; the lag is that per update and unit of step size, in deviations of the cloud."""

    source: str
    dim: int
    drift: str
    lag: float

    @property
    def cloud(self) -> Source:
        """The latents before they drift."""
        return SOURCES[self.source](self.dim)

    @property
    def steady(self) -> Steady:
        """The drift."""
        translation, growth = DRIFTS[self.drift]
        speed = STEP_SIZE * self.lag
        deviation = {"uniform": 12**-0.5, "Gaussian": 1.0, "skewed": stats.beta(2, 5).std()}[self.source]
        return Steady((translation * speed * deviation, *[0.0] * (self.dim - 1)), growth * speed)

    @property
    def steps(self) -> int:
        """Updates in a run."""
        folds = {1: GROWN, -1: SHRUNK, 0: WIDTHS * 12**0.5}[DRIFTS[self.drift][1]]
        return math.ceil(folds / (STEP_SIZE * self.lag))


@cache
def law_of(case: Case) -> float:
    """The codes of K_live that carry mass; nan where they are too few to an axis for a law."""
    steady = case.steady
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return live_codes(case.cloud, velocity=steady.velocity, growth=steady.growth, step_size=STEP_SIZE).carrying


def settled(rule: Rule, source: Source, drift: Drift, steps: int, start: int, seed: int, batch_size: int) -> tuple[int, int]:
    """How many codes of so many at the start carry mass in the end, and how many win anything."""
    stream = Stream(source, drift)
    codes = stream.at(0, seed).sample(start)
    leg = math.ceil(steps / LEGS)
    for i in range(LEGS):
        end = follow(rule, stream, codes, leg, seed, batch_size, start=i * leg)
        codes = end.codes[end.hits > 0]
    winner, _ = nearest(stream.at(LEGS * leg, seed).sample(400 * len(codes)), codes)
    share = np.bincount(winner, minlength=len(codes)) / len(winner)
    return int(np.sum(share >= CARRIES / len(codes))), len(codes)


@cache
def codes_left(case: Case, seed: int) -> tuple[int, int]:
    """How many codes of plain VQ carry mass, and how many are alive."""
    start = math.ceil(EXCESS * law_of(case))
    return settled(VQ(STEP_SIZE), case.cloud, case.steady, case.steps, start, seed, BATCH)


def cases_of(dim: int, effort: Effort) -> list[Case]:
    """Every drift of every cloud at each lag."""
    lags = LAGS[dim][:1] if effort == "quick" else LAGS[dim]
    cases = [Case(source, dim, drift, lag) for source in SOURCES for drift in DRIFTS for lag in lags]
    return [case for case in cases if law_of(case) > 0]


def is_tail(case: Case) -> bool:
    """Whether a shrinking cloud in three and more dimensions ends in a tail or a corner on every side."""
    return case.dim > 2 and case.drift == "shrinking" and case.source != "uniform"


def over_law(cases: list[Case], seed: int) -> list[float]:
    """Codes that carry mass over the law, geometric mean over the cases, of each replicate."""
    seeds = range(REPLICATES * seed, REPLICATES * (seed + 1))
    return [float(np.exp(np.mean([np.log(codes_left(case, one)[0] / law_of(case)) for case in cases]))) for one in seeds]


def within(dim: int, accuracy: float) -> Claim:
    """The law against runs, in each number of dimensions."""

    @claim(
        key=f"potential-{dim}d",
        statement=f"In {dim}-D a translation, growth, shrinking, and both leave as many codes with mass as the law of the "
        f"potential says (over law, mean over drifts, clouds and sizes)",
        source=DERIVED,
        law=LAW,
        strength="tolerance",
        predict=Range(1 - accuracy, 1 + accuracy),
        resolution=1.5 * accuracy,
        runs=f"potential-{dim}d",
        seen=SEEN,
    )
    def over_the_law(effort: Effort, seed: int) -> list[float]:
        return over_law([case for case in cases_of(dim, effort) if not is_tail(case)], seed)

    return over_the_law


@claim(
    key="potential-4d",
    statement="In 4-D, with two to three codes to an axis, more codes carry mass than the law of the potential says (over "
    "law, mean over drifts, clouds and sizes)",
    source=MEASURED,
    law=LAW,
    strength="description",
    predict=Range(1.1, 1.3),
    runs="potential-4d",
    seen=range(2),  # of which the first refuted 15 %: 1.20
)
def few_layers_over_law(effort: Effort, seed: int) -> list[float]:
    """As in the dimensions below, where there are layers to spare."""
    return over_law([case for case in cases_of(4, effort) if not is_tail(case)], seed)


@claim(
    key="potential-tails",
    statement="In 3-D and 4-D a Gaussian or skewed cloud that shrinks, which loses codes on all sides, keeps fewer than the "
    "law says (over law, mean over clouds and sizes)",
    source=MEASURED,
    law=LAW,
    strength="description",
    predict=Range(0.4, 0.7),
    runs="potential-tails",
    seen=range(2),  # of which the first refuted 0.6 to 0.95: 0.53
)
def tails_over_law(effort: Effort, seed: int) -> list[float]:
    """The trailing end is a whole surface, and the figures of its layer and its tail are those of one dimension."""
    dims = (3,) if effort == "quick" else (3, 4)
    return over_law([case for dim in dims for case in cases_of(dim, effort) if is_tail(case)], seed)


CLAIMS = [within(1, 0.05), within(2, 0.15), within(3, 0.15), few_layers_over_law, tails_over_law]
