"""Validation at the public door, and the one form that its messages have."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np


def fail(owner: str, name: str, requirement: str, got: Any) -> ValueError:
    """The error to raise: what was wrong, where, and what it has to be."""
    return ValueError(f"The {name!r} parameter of {owner} must be {requirement}. Got {short(got)}.")


def short(value: Any) -> str:
    """The `repr` of a value for a message, its middle left out where it is long."""
    try:
        written = repr(value)
    except Exception:  # of an int with more digits than Python writes, or of somebody's own
        written = f"a value of type {type(value).__name__}"
    return written if len(written) <= 400 else f"{written[:300]} ... {written[-60:]}"


def integer(owner: str, name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """An int in [low, high]."""
    bounds = f"an int >= {low}" if high is None else f"an int in [{low}, {high}]"
    try:
        number = operator.index(value)
    except TypeError:
        raise fail(owner, name, bounds, value) from None
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise fail(owner, name, bounds, value)
    return number


def real(owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> float:
    """A finite number in [low, high], or in (low, high] if `above`."""
    lower = "a finite number" if low == -math.inf else f"a number {'>' if above else '>='} {low:g}"
    requirement = lower if high == math.inf else f"{lower} and <= {high:g}"
    if isinstance(value, (bool, str)):
        raise fail(owner, name, requirement, value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise fail(owner, name, requirement, value) from None
    if not math.isfinite(number) or number < low or number > high or (above and number == low):
        raise fail(owner, name, requirement, value)
    return number


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names, and the one that was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"known: {', '.join(names)}" + (f"; did you mean {close[0]!r}?" if close else "")


def choice(owner: str, name: str, value: Any, options: Iterable[str]) -> str:
    """One of the `options`."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        known = nearest(str(value)[:80], options)
        raise ValueError(f"The {name!r} parameter of {owner} must be one of the known names. Got {short(value)} ({known}).")
    return str(value)


def finite(owner: str, name: str, values: np.ndarray) -> np.ndarray:
    """The array itself, if all of it is finite; the index of the first value that is not, otherwise."""
    good = np.isfinite(values)
    if not good.all():
        index = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"The {name!r} parameter of {owner} must be finite. Got {values[index]} at index {index}.")
    return values


def matrix(owner: str, name: str, values: Any, columns: int | None = None) -> np.ndarray:
    """A finite floating [rows, columns] array with at least one row and column, C-contiguous."""
    array = np.asarray(values)
    shape = f"a [rows, {'columns' if columns is None else columns}] array of numbers with at least one row and column"
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub" or columns not in (None, array.shape[1]):
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {shape}. Got shape {array.shape} and dtype {array.dtype}."
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    return finite(owner, name, np.ascontiguousarray(array))
