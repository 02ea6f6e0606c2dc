"""Arguments that broadcast: each number is checked as a single one would be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vqtheory._base import check

LARGEST = 2**53  # beyond, not every whole number is a float


def integers(owner: str, name: str, values: Any, low: int = 1) -> np.ndarray:
    """An array of ints >= low; the first that is not is named in the error."""
    flat = np.ravel(np.asarray(values, object)).tolist()
    checked = [check.integer(owner, name, check.integer(owner, name, value, low), low, LARGEST) for value in flat]
    return np.array(checked, np.int64).reshape(np.shape(values))


def reals(
    owner: str, name: str, values: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> np.ndarray:
    """An array of finite numbers in [low, high], or (low, high]; the first that is not is named in the error."""
    checked = [check.real(owner, name, value, low, high, above=above) for value in np.ravel(values).tolist()]
    return np.array(checked, np.float64).reshape(np.shape(values))


def plain(values: Any) -> Any:
    """The array, or the Python number where nothing was broadcast."""
    values = np.asarray(values)
    return values.item() if values.ndim == 0 else values
