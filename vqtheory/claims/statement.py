"""A claim: a statement, what it predicts, the experiment that measures it, and the verdict.

Claims differ in what stands behind the prediction, and are counted apart by this *strength*:

===========  ====================================================================================
law          a number, or a bound with a derivation
tolerance    a derived number, and an accuracy that was stated before the run
description  a range that was seen in earlier runs, and is judged with other seeds than theirs
===========  ====================================================================================

An experiment returns replicates; an interval comes from them alone, by Student's t, at a level at
which all true claims of the toolkit pass together 99 times in 100. A prediction is a number or a
`Range`. A number holds if the interval contains it, a range if it contains the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy import stats

from vqtheory._base import check

Strength = Literal["law", "tolerance", "description"]
Outcome = Literal["holds", "refuted", "undecided"]
Effort = Literal["quick", "full"]

FAMILY_ERROR = 0.01  # chance that any one of all true claims is refuted
FAMILY_SIZE = 170  # at least the number of claims; a test counts them


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


Prediction = float | Range
Kind = Exact | Limit | Scaling
Experiment = Callable[[Effort, int], Any]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement that can fail. Every field is given by its name; `claim` makes one of its experiment.

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
    strength : {"law", "tolerance", "description"}
        What stands behind the prediction.
    kind : Exact, Limit or Scaling, default Exact()
    predict : float, Range, or callable () -> float or Range
        A callable is called when the claim is verified.
    experiment : callable, (effort, seed) -> replicates
        See the kinds. Different seeds must give independent replicates.
    resolution : float, optional
        The widest interval that counts as evidence, in the unit of the measured quantity; a wider one leaves the claim
        undecided. Needed where one number is predicted of sampled replicates: any wide interval contains it.
    runs : str, default ""
        A name for runs that claims share: they are verified one after the other in one process, which keeps the runs.
    seen : range, default range(0)
        The seeds, from 0 on, that were run before the range or the accuracy was chosen. `verify` never gives them to
        the experiment: its seed 0 is the first that was not seen.

    Raises
    ------
    ValueError
        For an unknown strength or kind, an experiment that is no function, and without a resolution where one is needed.
    """

    key: str
    statement: str
    source: str
    law: str
    strength: Strength
    kind: Kind = Exact()
    predict: Prediction | Callable[[], Prediction]
    experiment: Experiment
    resolution: float | None = None
    runs: str = ""
    seen: range = range(0)

    def __post_init__(self) -> None:
        for name in ("key", "statement", "source", "law"):
            check.instance("Claim", name, getattr(self, name), str, "a text")
        check.choice("Claim", "strength", self.strength, get_args(Strength))
        check.instance("Claim", "kind", self.kind, get_args(Kind), "Exact(), Limit(parameter, order) or Scaling(parameter)")
        if not callable(self.experiment):
            raise check.fail("Claim", "experiment", "a function of effort and seed that returns replicates", self.experiment)
        sampled = self.kind == Exact() or not isinstance(self.kind, Exact)
        if sampled and self.resolution is None and not isinstance(self.predict, Range):
            needed = "given where one number is predicted of sampled replicates"
            raise check.fail("Claim", "resolution", needed, self.resolution)

    def verify(self, effort: Effort = "quick", seed: int = 0) -> Verdict:
        """Run the experiment and judge it. `ValueError` for an experiment that returns what its kind cannot use."""
        predicted = self.predict() if callable(self.predict) else self.predict
        replicates = _held(self, self.experiment(effort, self.seen.stop + seed))
        measured, interval, details = estimate(self.kind, replicates)
        every = isinstance(self.kind, Exact) and self.kind.worst
        outcome = judge(predicted, interval, self.resolution, every)
        return Verdict(self, predicted, measured, interval, outcome, details)


def claim(**fields: Any) -> Callable[[Experiment], Claim]:
    """Decorator: turns an experiment into the `Claim` that it measures; the fields are those of `Claim`.

    Examples
    --------
    >>> @claim(
    ...     key="mean-of-uniform", statement="The mean of uniform numbers (over 1/2)", source="derived here", law="mine",
    ...     strength="law", predict=1.0, resolution=0.1,
    ... )
    ... def mean_of_uniform(effort, seed):
    ...     return 2 * np.random.default_rng(seed).random((10, 1000)).mean(axis=1)
    >>> mean_of_uniform.verify().outcome
    'holds'
    """
    return lambda experiment: Claim(experiment=experiment, **fields)


@dataclass(frozen=True)
class Verdict:
    """What a claim came to."""

    claim: Claim
    predicted: Prediction
    measured: float
    interval: Interval
    outcome: Outcome
    details: dict[str, Any] = field(default_factory=dict)


def judge(predicted: Prediction, interval: Interval, resolution: float | None = None, every: bool = False) -> Outcome:
    """The outcome for a prediction and an interval of what was measured.

    With `every` the interval spans single replicates, each of which must be as predicted.

    Examples
    --------
    >>> judge(1.0, Interval(0.9, 1.05), resolution=0.2), judge(1.0, Interval(1.1, 1.2), resolution=0.2)
    ('holds', 'refuted')
    >>> judge(1.0, Interval(0.0, 2.0), resolution=0.2), judge(Range(0.0, 1.0), Interval(0.9, 1.1))
    ('undecided', 'undecided')
    """
    low, high = interval
    region = predicted if isinstance(predicted, Range) else Range(predicted, predicted)
    contained = region.low <= low and high <= region.high
    if np.isnan(low) or np.isnan(high) or high < region.low or low > region.high or (every and not contained):
        return "refuted"
    if resolution is not None and high - low > resolution:
        return "undecided"
    return "holds" if contained or not isinstance(predicted, Range) else "undecided"


def estimate(kind: Kind, replicates: Any) -> tuple[float, Interval, dict[str, Any]]:
    """The measured quantity, its interval, and what else is reported."""
    match kind:
        case Exact(error=float(error)):
            value = float(replicates)
            return value, Interval(value - error, value + error), {}
        case Exact(worst=True):
            values = np.asarray(replicates, np.float64)
            return float(values.mean()), Interval(float(values.min()), float(values.max())), {"replicates": len(values)}
        case Exact():
            return *mean_interval(replicates), {"replicates": len(replicates)}
        case Limit(order=order):
            intercepts = [_line(np.asarray(values) ** order, ratios)[0] for values, ratios in _paired(replicates)]
            return *mean_interval(intercepts), {"means": _means(replicates)}
        case Scaling():
            fits = np.array([_line(np.log(values), np.log(y)) for values, y in _paired(replicates)])
            prefactor = mean_interval(np.exp(fits[:, 0]))
            return *mean_interval(fits[:, 1]), {"prefactor": prefactor, "means": _means(replicates)}


def mean_interval(replicates: Any) -> tuple[float, Interval]:
    """Mean of independent replicates, and its interval at the family-wise level, by Student's t."""
    values = np.asarray(replicates, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, Interval(-np.inf, np.inf)
    error = float(values.std(ddof=1)) / len(values) ** 0.5
    reach = error * float(stats.t.ppf(1 - FAMILY_ERROR / FAMILY_SIZE / 2, len(values) - 1))
    return mean, Interval(mean - reach, mean + reach)


def _held(claim: Claim, replicates: Any) -> Any:
    """What an experiment has returned, if it is what the kind of its claim needs."""
    match claim.kind:
        case Exact(error=float()):
            fits, wanted = len(_shapes([replicates], 0)) == 1, "one number"
        case Exact():
            fits, wanted = len(_shapes([replicates], 1)) == 1, "a list of numbers, one for each replicate"
        case _:
            fits = isinstance(replicates, Mapping) and len(replicates) > 1 and len(_shapes(replicates.values(), 1)) == 1
            wanted = f"a list of equally many replicates for each value of the {claim.kind.parameter}, in a dictionary"
    if not fits:
        got = check.short(replicates)
        raise ValueError(f"The experiment of the claim {claim.key!r} must return {wanted}. Got {got}.")
    return replicates


def _shapes(several: Iterable[Any], dimensions: int) -> set[tuple[int, ...]]:
    """The shapes of arrays of numbers of so many dimensions; none where one of them is something else, or empty."""
    try:
        arrays = [np.asarray(one) for one in several]
    except ValueError:  # lists of unequal length in a list
        return set()
    fit = all(array.ndim == dimensions and array.size > 0 and array.dtype.kind in "biuf" for array in arrays)
    return {array.shape for array in arrays} if fit else set()


def _line(x: Any, y: Any) -> tuple[float, float]:
    """Intercept and slope of the straight line through the points, by least squares."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)


def _paired(replicates: Mapping[float, Any]) -> list[tuple[list[float], list[float]]]:
    """The i-th replicates at all values, for each i."""
    values = list(replicates)
    return [(values, list(row)) for row in zip(*replicates.values(), strict=True)]


def _means(replicates: Mapping[float, Any]) -> dict[float, float]:
    return {float(value): float(np.mean(of_value)) for value, of_value in replicates.items()}
