"""Arguments that broadcast: each number is checked as a single one would be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from vqtheory._base import check

Form = TypeVar("Form", bound=Callable[..., Any])
LARGEST = 2**53  # beyond, not every whole number is a float


def closed_form(function: Form) -> Form:
    """Says in a sentence what no float can hold, and which shapes do not fit together.

    Numbers that are out of reach on the way are let pass. An answer that is not finite is one only where the docstring
    says so: where it names inf or nan.
    """
    owner, doc = function.__name__, function.__doc__ or ""
    may_be_nan, may_be_infinite = re.search(r"\bnan\b", doc), re.search(r"\binf(inite|inity)?\b", doc)

    @wraps(function)
    def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                answer = function(*args, **kwargs)
        except (OverflowError, ZeroDivisionError):
            raise beyond(owner) from None
        except ValueError as error:
            if "broadcast" in str(error):
                raise ValueError(f"The arguments of {owner} must have shapes that fit together.") from None
            raise
        values = np.array(_numbers(answer)) if is_dataclass(answer) else np.asarray(0.0 if answer is None else answer)
        if (np.any(np.isnan(values)) and not may_be_nan) or (np.any(np.isinf(values)) and not may_be_infinite):
            raise beyond(owner)
        return answer

    return answered  # type: ignore[return-value]


def _numbers(answer: Any) -> list[float]:
    """The numbers among the fields of an answer."""
    return [value for value in vars(answer).values() if isinstance(value, float)]


def beyond(owner: str) -> ValueError:
    return ValueError(f"The numbers given to {owner} are too large or too small: no float can hold its answer.")


def integers(owner: str, name: str, values: Any, low: int = 1) -> np.ndarray:
    """An array of ints >= low; the first that is not is named in the error."""
    flat, shape = _flat(owner, name, values, f"an int >= {low}, or an array of them")
    highs = [LARGEST if isinstance(value, (int, np.integer)) and value > LARGEST else None for value in flat]
    checked = [check.integer(owner, name, value, low, high) for value, high in zip(flat, highs, strict=True)]
    return np.array(checked, np.int64).reshape(shape)


def reals(
    owner: str, name: str, values: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> np.ndarray:
    """An array of finite numbers in [low, high], or (low, high]; the first that is not is named in the error."""
    flat, shape = _flat(owner, name, values, "a finite number, or an array of them")
    checked = [check.real(owner, name, value, low, high, above=above) for value in flat]
    return np.array(checked, np.float64).reshape(shape)


def _flat(owner: str, name: str, values: Any, requirement: str) -> tuple[list[Any], tuple[int, ...]]:
    """The single values, and the shape that they came in."""
    if np.ma.is_masked(values):
        raise check.fail(owner, name, "without masked values", values)
    if not isinstance(values, (list, tuple, np.ndarray)) and not hasattr(values, "__array__"):
        return [values], ()
    try:
        array = np.asarray(values, None if isinstance(values, np.ndarray) else object)
    except Exception:  # of rows of different lengths, and of what others' tensors and tables say to it
        raise check.fail(owner, name, requirement, values) from None
    if any(isinstance(value, (list, tuple)) for value in array.ravel()):
        raise check.fail(owner, name, requirement, values)
    return array.ravel().tolist(), array.shape


def plain(values: Any) -> Any:
    """The array, or the Python number where nothing was broadcast."""
    values = np.asarray(values)
    return values.item() if values.ndim == 0 else values
