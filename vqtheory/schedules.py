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

    >>> constant(0.1)(7)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        check.real("constant", "value", self.value)

    def __call__(self, t: Any) -> Any:
        return self.value + 0.0 * t


@dataclass(frozen=True, repr=False)
class harmonic(_Schedule):
    """``start / (1 + t / delay)``: the sum diverges, the sum of squares does not (Robbins and Monro).

    With `delay` above 1 the steps begin to fall only after about that many updates: a rate
    c / t with c = start * delay large enough to converge, and a first step that is not too large.

    >>> harmonic(1.0)(3)
    0.25
    """

    start: float
    delay: float = 1.0

    def __post_init__(self) -> None:
        check.real("harmonic", "start", self.start)
        check.real("harmonic", "delay", self.delay, 0, above=True)

    def __call__(self, t: Any) -> Any:
        return self.start / (1.0 + t / self.delay)


@dataclass(frozen=True, repr=False)
class exponential(_Schedule):
    """``start`` until step `begin`, then halved every `half_life` steps.

    >>> exponential(1.0, half_life=10, begin=5)(15)
    0.5
    """

    start: float
    half_life: float
    begin: float = 0

    def __post_init__(self) -> None:
        check.real("exponential", "start", self.start)
        check.real("exponential", "half_life", self.half_life, 0, above=True)
        check.real("exponential", "begin", self.begin, 0)

    def __call__(self, t: Any) -> Any:
        return self.start * 0.5 ** ((t - self.begin) * (t > self.begin) / self.half_life)


def _fraction(t: Any, steps: int) -> Any:
    """How much of `steps` has passed at `t`, held at 1 afterwards."""
    return (t * (t < steps) + steps * (t >= steps)) / steps


@dataclass(frozen=True, repr=False)
class linear(_Schedule):
    """From `start` to `end` along a straight line in `steps` steps, then `end`.

    >>> linear(1.0, 0.0, steps=4)(1)
    0.75
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check.real("linear", "start", self.start)
        check.real("linear", "end", self.end)
        check.integer("linear", "steps", self.steps)

    def __call__(self, t: Any) -> Any:
        return self.start + (self.end - self.start) * _fraction(t, self.steps)


@dataclass(frozen=True, repr=False)
class cosine(_Schedule):
    """From `start` to `end` along half a cosine in `steps` steps, then `end`.

    >>> round(float(cosine(1.0, 0.0, steps=4)(2)), 12)
    0.5
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check.real("cosine", "start", self.start)
        check.real("cosine", "end", self.end)
        check.integer("cosine", "steps", self.steps)

    def __call__(self, t: Any) -> Any:
        angle = math.pi * _fraction(t, self.steps)
        # the one transcendental function here: a tensor brings its own
        return self.end + (self.start - self.end) * 0.5 * (1.0 + (angle.cos() if hasattr(angle, "cos") else np.cos(angle)))


def validate(owner: str, name: str, schedule: Any, low: float = -math.inf, *, above: bool = False) -> None:
    """A hyperparameter that is a number in range, or a schedule that starts in range."""
    if callable(schedule):
        check.real(owner, name, float(schedule(0)), low, above=above)
        if hasattr(schedule, "end"):
            check.real(owner, name, schedule.end, low)
    else:
        check.real(owner, name, schedule, low, above=above)


def values(schedule: Any, start: int, steps: int) -> np.ndarray:
    """The schedule at steps ``start .. start + steps - 1``, float64."""
    t = np.arange(start, start + steps, dtype=np.float64)
    return np.array(np.broadcast_to(schedule(t) if callable(schedule) else float(schedule), (steps,)), np.float64)
