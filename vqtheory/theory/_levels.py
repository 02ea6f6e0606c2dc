"""Integrals of a singular power of a height over points with weights, by its levels.

With W(z) the measure where the height is below z, the integral of height^-e is that of z^-e dW(z): W is a power of z below
a fiftieth of the measure, where its exponent is measured, and linear between neighbouring points from there on.
"""

from __future__ import annotations

import math

import numpy as np

_LOWEST = 0.02  # the share of the measure below which W is a power


def level_power(height: np.ndarray, measure: np.ndarray) -> float:
    """q, the power with which the measure below a level rises near the lowest."""
    order = np.argsort(height)
    z, below = height[order], _below(measure[order])
    top = _lowest(below)
    return float(np.log2(below[top] / np.interp(z[top] / 2, z, below)))


def level_integral(height: np.ndarray, measure: np.ndarray, exponent: float, least_power: float = 0.0) -> float:
    """The integral of height^-e; infinite where it diverges. W is known to rise as its `least_power`-th power or faster."""
    order = np.argsort(height)
    z, below = height[order], _below(measure[order])
    power, top = max(level_power(height, measure), least_power), _lowest(below)
    if power <= exponent:
        return math.inf
    lowest = below[top] * z[top] ** -exponent * (power / (power - exponent) if math.isfinite(power) else 1.0)
    low, high = z[top:-1], z[top + 1 :]
    rest = 1 - exponent
    integral = (high**rest - low**rest) / rest if rest else np.log(high / low)
    width = high - low
    mean = np.divide(integral, width, out=high**-exponent, where=width > 1e-9 * high)
    return float(lowest + np.diff(below)[top:] @ mean)


def _below(measure: np.ndarray) -> np.ndarray:
    """W at each of the points, ascending: half of a point's own weight is below it."""
    return np.cumsum(measure) - measure / 2


def _lowest(below: np.ndarray) -> int:
    """The point up to which W is taken for a power."""
    return min(len(below) - 1, max(8, int(np.searchsorted(below, _LOWEST * below[-1]))))
