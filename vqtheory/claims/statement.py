"""A claim: a statement, what it predicts, the experiment that measures it, and the verdict.

An experiment returns replicates; an interval comes from them alone, by Student's t, at a level at
which all true claims of the toolkit pass together 99 times in 100. A prediction is a number or a
`Range`. A number holds if the interval contains it, a range if it contains the interval. An interval
wider than the claim's `resolution` is no evidence: the outcome is then undecided, not held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

Outcome = Literal["holds", "refuted", "undecided"]
Effort = Literal["quick", "full"]

FAMILY_ERROR = 0.01  # chance that any one of all true claims is refuted
FAMILY_SIZE = 100  # at least the number of claims; a test counts them


class Range(NamedTuple):
    """A prediction that is not one number: low <= measured <= high."""

    low: float
    high: float


class Interval(NamedTuple):
    """An interval of a measured quantity."""

    low: float
    high: float


@dataclass(frozen=True)
class Exact:
    """One measured quantity. The experiment returns its replicates.

    With `error` the quantity is computed, not sampled: one value, and the size of its rounding.
    With `worst` every replicate must do: the interval spans them all.
    """

    error: float | None = None
    worst: bool = False


@dataclass(frozen=True)
class Limit:
    """Measured at three values of a parameter that goes to 0: ratio = 1 + O(parameter^order).

    The experiment returns {value: replicates of measured / predicted}; the ratio at 0 is
    extrapolated along a straight line in value^order.
    """

    parameter: str
    order: float


@dataclass(frozen=True)
class Scaling:
    """A power law y = prefactor * x^exponent, judged by its exponent in the range of x that is measured.

    The experiment returns {x: replicates of y}. `predict` is the exponent, or a range of it; the
    prefactor is reported.
    """

    parameter: str


@dataclass(frozen=True)
class Verdict:
    """What a claim came to."""

    key: str
    statement: str
    predicted: float | Range
    measured: float
    interval: Interval
    outcome: Outcome
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement that can fail.

    Parameters
    ----------
    key : str
        Its name, unique.
    statement : str
        One sentence, with the quantity that is measured.
    source : str
        Where it is from: the paper, or derived here.
    law : str
        The law it belongs to.
    kind : Exact, Limit or Scaling
    predict : callable, () -> float or Range
    experiment : callable, (effort, seed) -> replicates
        See the kinds.
    resolution : float
        The widest interval that counts as evidence, in the measured quantity's unit.
    runs : str, default ""
        A name for runs that claims share: they are verified one after the other in one process, which keeps them.
    """

    key: str
    statement: str
    source: str
    law: str
    kind: Exact | Limit | Scaling
    predict: Callable[[], float | Range]
    experiment: Callable[[Effort, int], Any]
    resolution: float
    runs: str = ""

    def verify(self, effort: Effort = "quick", seed: int = 0) -> Verdict:
        """Run the experiment and judge it."""
        predicted, found = self.predict(), self.experiment(effort, seed)
        measured, interval, details = estimate(self.kind, found)
        every = isinstance(self.kind, Exact) and self.kind.worst
        outcome = judge(predicted, interval, self.resolution, every)
        return Verdict(self.key, self.statement, predicted, measured, interval, outcome, details)


def judge(predicted: float | Range, interval: Interval, resolution: float, every: bool = False) -> Outcome:
    """The outcome for a prediction and an interval of what was measured.

    With `every` the interval spans single replicates, each of which must be as predicted.

    >>> judge(1.0, Interval(0.9, 1.05), resolution=0.2), judge(1.0, Interval(1.1, 1.2), resolution=0.2)
    ('holds', 'refuted')
    >>> judge(1.0, Interval(0.0, 2.0), resolution=0.2), judge(Range(0.0, 1.0), Interval(0.9, 1.1), resolution=0.5)
    ('undecided', 'undecided')
    """
    low, high = interval
    region = predicted if isinstance(predicted, Range) else Range(predicted, predicted)
    contained = region.low <= low and high <= region.high
    if np.isnan(low) or np.isnan(high) or high < region.low or low > region.high or (every and not contained):
        return "refuted"
    if high - low > resolution:
        return "undecided"
    return "holds" if contained or not isinstance(predicted, Range) else "undecided"


def estimate(kind: Exact | Limit | Scaling, found: Any) -> tuple[float, Interval, dict[str, Any]]:
    """The measured quantity, its interval, and what else is reported."""
    match kind:
        case Exact(error=float(error)):
            return float(found), Interval(float(found) - error, float(found) + error), {}
        case Exact(worst=True):
            values = np.asarray(found, np.float64)
            return float(values.mean()), Interval(float(values.min()), float(values.max())), {"replicates": len(values)}
        case Exact():
            return *mean_interval(found), {"replicates": len(found)}
        case Limit(order=order):
            intercepts = [_line(np.asarray(values) ** order, ratios)[0] for values, ratios in _paired(found)]
            return *mean_interval(intercepts), {"means": _means(found)}
        case Scaling():
            fits = np.array([_line(np.log(values), np.log(y)) for values, y in _paired(found)])
            prefactor = mean_interval(np.exp(fits[:, 0]))
            return *mean_interval(fits[:, 1]), {"prefactor": prefactor, "means": _means(found)}


def mean_interval(replicates: Any) -> tuple[float, Interval]:
    """Mean of independent replicates, and its interval at the family-wise level, by Student's t."""
    from scipy import stats

    values = np.asarray(replicates, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, Interval(-np.inf, np.inf)
    error = float(values.std(ddof=1)) / len(values) ** 0.5
    reach = error * float(stats.t.ppf(1 - FAMILY_ERROR / FAMILY_SIZE / 2, len(values) - 1))
    return mean, Interval(mean - reach, mean + reach)


def _line(x: Any, y: Any) -> tuple[float, float]:
    """Intercept and slope of the straight line through the points, by least squares."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)


def _paired(found: Mapping[float, Any]) -> list[tuple[list[float], list[float]]]:
    """The i-th replicates at all values, for each i."""
    values = list(found)
    return [(values, list(row)) for row in zip(*found.values(), strict=True)]


def _means(found: Mapping[float, Any]) -> dict[float, float]:
    return {float(value): float(np.mean(replicates)) for value, replicates in found.items()}
