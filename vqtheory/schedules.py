"""Schedules: a hyperparameter as a function of the update number.

One definition serves numbers, NumPy arrays and torch tensors, since it is made of
arithmetic alone. A plain number stands for `constant`.

>>> exponential(2.0, half_life=600)(1200)
0.5
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqtheory._base import check
from vqtheory._base.config import Configured

__all__ = ["constant", "cosine", "exponential", "harmonic", "linear"]


class _Schedule(Configured):
    _positional: ClassVar[int] = 1


@dataclass(frozen=True, repr=False)
class constant(_Schedule):
    """The same `value` at every step.

    Examples
    --------
    >>> constant(0.1)(7)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        self._keep(value=check.number("constant", "value", self.value))

    def __call__(self, t: Any) -> Any:
        return self.value + 0.0 * t


@dataclass(frozen=True, repr=False)
class harmonic(_Schedule):
    """``start / (1 + t / delay)``: the sum diverges, the sum of squares does not (Robbins and Monro).

    With `delay` above 1 the steps begin to fall only after about that many updates: a rate
    c / t with c = start * delay large enough to converge, and a first step that is not too large.

    Examples
    --------
    >>> harmonic(1.0)(3)
    0.25
    """

    start: float
    delay: float = 1.0

    def __post_init__(self) -> None:
        self._keep(start=check.number("harmonic", "start", self.start))
        self._keep(delay=check.duration("harmonic", "delay", self.delay))

    def __call__(self, t: Any) -> Any:
        return self.start / (1.0 + t / self.delay)


@dataclass(frozen=True, repr=False)
class exponential(_Schedule):
    """``start`` until step `begin`, then halved every `half_life` steps.

    Examples
    --------
    >>> exponential(1.0, half_life=10, begin=5)(15)
    0.5
    """

    start: float
    half_life: float
    begin: float = 0

    def __post_init__(self) -> None:
        self._keep(start=check.number("exponential", "start", self.start))
        self._keep(half_life=check.duration("exponential", "half_life", self.half_life))
        self._keep(begin=check.number("exponential", "begin", self.begin, 0))

    def __call__(self, t: Any) -> Any:
        return self.start * 0.5 ** ((t - self.begin) * (t > self.begin) / self.half_life)


def _fraction(t: Any, steps: int) -> Any:
    """How much of `steps` has passed at `t`, held at 1 afterwards."""
    return (t * (t < steps) + steps * (t >= steps)) / steps


@dataclass(frozen=True, repr=False)
class linear(_Schedule):
    """From `start` to `end` along a straight line in `steps` steps, then `end`.

    Examples
    --------
    >>> linear(1.0, 0.0, steps=4)(1)
    0.75
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        self._keep(start=check.number("linear", "start", self.start))
        self._keep(end=check.number("linear", "end", self.end))
        self._keep(steps=check.integer("linear", "steps", self.steps))

    def __call__(self, t: Any) -> Any:
        return self.start + (self.end - self.start) * _fraction(t, self.steps)


@dataclass(frozen=True, repr=False)
class cosine(_Schedule):
    """From `start` to `end` along half a cosine in `steps` steps, then `end`.

    Examples
    --------
    >>> round(float(cosine(1.0, 0.0, steps=4)(2)), 12)
    0.5
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        self._keep(start=check.number("cosine", "start", self.start))
        self._keep(end=check.number("cosine", "end", self.end))
        self._keep(steps=check.integer("cosine", "steps", self.steps))

    def __call__(self, t: Any) -> Any:
        angle = math.pi * _fraction(t, self.steps)
        # the one transcendental function here: a tensor brings its own
        return self.end + (self.start - self.end) * 0.5 * (1.0 + (angle.cos() if hasattr(angle, "cos") else np.cos(angle)))


def validate(owner: str, name: str, schedule: Any, low: float = -math.inf, *, above: bool = False) -> Any:
    """A hyperparameter that is a number in range, or a schedule that starts in range; returned as a rule keeps it."""
    if not callable(schedule) or isinstance(schedule, type):
        return check.number(owner, name, schedule, low, above=above)
    try:
        check.real(owner, name, schedule(0), low, above=above)
    except ValueError as error:
        raise ValueError(f"{error} That is the schedule at step 0.") from None
    if isinstance(schedule, (linear, cosine)):
        check.real(owner, name, schedule.end, low)
    return schedule


def values(schedule: Any, start: int, steps: int) -> np.ndarray:
    """The schedule at steps ``start .. start + steps - 1``, float64."""
    return at(schedule, np.arange(start, start + steps, dtype=np.float64))


def at(schedule: Any, t: np.ndarray) -> np.ndarray:
    """The schedule at times t, float64 of the same shape; refuses one that gives anything but finite numbers."""
    given = schedule(t) if callable(schedule) else schedule
    try:
        result = np.array(np.broadcast_to(given, t.shape), np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"A schedule must give a number for each step. {check.short(schedule)} gave {check.short(given)}."
        ) from None
    if not np.isfinite(result).all():
        step = t.ravel()[np.argmin(np.isfinite(result))]
        raise ValueError(f"A schedule must give finite numbers. {check.short(schedule)} did not at step {step:g}.")
    return result
