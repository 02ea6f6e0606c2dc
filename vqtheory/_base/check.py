"""Validation at the public door, and the one form that its messages have."""

from __future__ import annotations

import difflib
import math
import operator
import os
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SQUARABLE = 1e150  # lengths up to here have squares that a float can hold
LARGEST_INT = 2**64 - 1  # of any size or seed
_NO_NUMBERS = (bool, np.bool_, str, bytes, bytearray, np.ma.MaskedArray, np.complexfloating)  # although float() takes them
_MANY = 60  # names, more than which are not listed
_EXACT = 2**53  # beyond, not every whole number is a float


def fail(owner: str, name: str, requirement: str, got: Any) -> ValueError:
    """The error to raise: what was wrong, where, and what it has to be."""
    return ValueError(f"The {name!r} parameter of {owner} must be {requirement}. Got {short(got)}.")


def short(value: Any) -> str:
    """The `repr` of a value for a message, its middle left out where it is long, without places in memory."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    try:
        written = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    except Exception:  # of an int with more digits than Python writes, or of somebody's own
        written = f"a value of type {type(value).__name__}"
    return written if len(written) <= 400 else f"{written[:300]} ... {written[-60:]}"


def warn(message: str) -> None:
    """A warning that points at the line which called the package, however deep inside of it the reason showed."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("vqtheory", "functools"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def instance(owner: str, name: str, value: Any, kind: type | tuple[type, ...], requirement: str) -> None:
    """Refuses what is not of a kind; of a class it says how an object is made of it."""
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        written = value.__name__
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {requirement}. {written} is a class: write {written}(...) for one."
        )
    raise fail(owner, name, requirement, value)


def flag(owner: str, name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise fail(owner, name, "True or False", value)
    return bool(value)


def path(owner: str, name: str, value: Any, requirement: str = "a path") -> Path:
    """A path, from text or from a path."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value) or "\0" in str(value):
        raise fail(owner, name, requirement, value)
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise fail(owner, name, requirement, value) from None
    return Path(value)


def integer(owner: str, name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """An int in [low, high], and one of 64 bits where there is no upper bound."""
    bounds = f"an int >= {low}" if high is None else f"an int in [{low}, {high}]"
    try:
        number = operator.index(value)
    except TypeError:
        raise fail(owner, name, bounds, value) from None
    if isinstance(value, bool) or np.ndim(value) > 0 or number < low or (high is not None and number > high):
        raise fail(owner, name, bounds, value)
    if high is None and number > LARGEST_INT:
        raise fail(owner, name, f"an int in [{low}, {LARGEST_INT}]", value)
    return number


def real(owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> float:
    """A finite number in [low, high], or in (low, high] if `above`."""
    lower = "a finite number" if low == -math.inf else f"a number {'>' if above else '>='} {low:g}"
    requirement = lower if high == math.inf else f"{lower} and <= {high:g}"
    if isinstance(value, _NO_NUMBERS) or (
        isinstance(value, np.ndarray) and (value.ndim > 0 or value.dtype.kind not in "fiu")
    ):
        raise fail(owner, name, requirement, value)
    try:
        number = float(value)
    except Exception:  # float() asks the value itself, which may be anything
        raise fail(owner, name, requirement, value) from None
    if not math.isfinite(number) or number < low or number > high or (above and number == low):
        raise fail(owner, name, requirement, value)
    return number


def number(owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> Any:
    """`real`, of which an int stays one: what a rule or a stream keeps, of whatever type it was given."""
    checked = real(owner, name, value, low, high, above=above)
    whole = isinstance(value, (int, np.integer)) and abs(int(value)) <= _EXACT
    return int(value) if whole else checked


def duration(owner: str, name: str, value: Any) -> Any:
    """A `number` of updates > 0, by which any count of updates can be divided."""
    return number(owner, name, number(owner, name, value, 0, above=True), 1 / SQUARABLE)


def temperature(owner: str, name: str, value: Any) -> Any:
    """A `number` > 0 by which float32 can divide: below it that type has fewer digits, and no inverse."""
    return number(owner, name, number(owner, name, value, 0, above=True), 1.2e-38)


def floating(owner: str, name: str, value: Any) -> np.dtype:
    """A floating type, however it is written."""
    try:
        dtype = np.dtype(object if isinstance(value, (np.ndarray, np.generic)) else value)
    except Exception:  # of what is no type at all
        dtype = np.dtype(object)
    if dtype.kind != "f":
        raise fail(owner, name, "a floating type such as 'float32'", value)
    return dtype


def seed(owner: str, value: Any) -> int:
    """A seed of any generator of the package."""
    return integer(owner, "seed", value, 0, LARGEST_INT)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names, and the one that was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if len(names) > _MANY:
        likely = close or difflib.get_close_matches(name, names, n=3, cutoff=0.0)
        return f"of {len(names)}; did you mean {' or '.join(map(repr, likely))}?"
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


def array(owner: str, name: str, values: Any, requirement: str) -> np.ndarray:
    """Real numbers as an array of whatever shape; lists with rows of different lengths and masked values are refused."""
    try:
        numbers = np.asanyarray(values)
    except Exception:  # of ragged lists, and of what others' tensors and tables say to it
        raise fail(owner, name, requirement, values) from None
    if numbers.dtype.kind not in "fiub" or np.ma.is_masked(numbers):
        raise fail(owner, name, requirement, values)
    return np.asarray(numbers)


def vector(owner: str, name: str, values: Any, length: int) -> np.ndarray:
    """So many finite numbers, float64."""
    requirement = f"{length} finite numbers"
    numbers = array(owner, name, values, requirement)
    if numbers.shape != (length,):
        raise fail(owner, name, requirement, values)
    return finite(owner, name, numbers.astype(np.float64))


def matrix(owner: str, name: str, values: Any, columns: int | None = None) -> np.ndarray:
    """A finite floating [rows, columns] array with at least one row and column, C-contiguous."""
    shape = f"a [rows, {'columns' if columns is None else columns}] array of numbers with at least one row and column"
    try:
        array = np.asanyarray(values)
    except Exception:  # as in `array`
        raise fail(owner, name, shape, values) from None
    if np.ma.is_masked(array):
        raise ValueError(f"The {name!r} parameter of {owner} must be {shape}. Got masked values.")
    array = np.asarray(array)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub" or columns not in (None, array.shape[1]):
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {shape}. Got shape {array.shape} and dtype {array.dtype}."
        )
    if array.dtype not in (np.float32, np.float64):
        with np.errstate(over="ignore"):
            array = array.astype(np.float64)
    return finite(owner, name, np.ascontiguousarray(array))
