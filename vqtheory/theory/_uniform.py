"""The collapse law of the uniform density on [0, 1], in closed form.

With borders midway between codes, p_k (m_k - u_k) = a in an inner cell reads
D_k^2 - D_(k-1)^2 = 8 a for the gaps D_k = u_(k+1) - u_k: squared gaps are arithmetic. The
first cell continues the rule downwards with D_0 = 2 |u_1|, and u_1 lies below the cloud
where the drift is fast. With z = -u_1 / sqrt(2 a) this is D_k = sqrt(8 a (z^2 + k)), and
that the cells fill the interval is

    1 / sqrt(8 a) = g(z) = -z/2 + sum over k < K of sqrt(z^2 + k) + sqrt(z^2 + K) / 2.

g is convex in z, so there are two steady states (the one with the smaller z is stable), one
or none, and the largest a is 1 / (8 min g^2).
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from scipy import optimize, stats

from vqtheory.reference.density import Density

ROUNDING = 1e-12  # a lag that exceeds the critical one by less counts as equal to it
TINY = 1e-300  # a lag below is none: the squares of what is divided by it are beyond a float
_FIRST_TERMS = np.arange(1, 33)  # of a sum; the Euler-Maclaurin formula adds the others to rounding


class Uniform:
    """The law of the uniform density on [0, 1]."""

    def critical_lag(self, num_codes: np.ndarray) -> np.ndarray:
        """The largest a at which K codes have a steady state; infinite for K = 1."""
        distinct, place = np.unique(num_codes, return_inverse=True)
        with np.errstate(divide="ignore"):
            lags = 1 / (8 * least_sum(distinct)[1] ** 2)
        return lags[place].reshape(np.shape(num_codes))

    def can_live(self, num_codes: np.ndarray, lag: np.ndarray) -> np.ndarray:
        """Whether K codes have a steady state at a."""
        return lag <= self.critical_lag(num_codes) * (1 + ROUNDING)

    def steady_state(self, num_codes: int, lag: float) -> np.ndarray | None:
        """The stable codes [K], ascending, or None."""
        if num_codes == 1 or lag < TINY:
            return (np.arange(num_codes) + 0.5) / num_codes - lag
        z, least = (float(found) for found in least_sum(np.array(num_codes)))
        wanted = 1 / math.sqrt(8 * lag)
        if wanted * (1 + ROUNDING) < least:
            return None
        if wanted > least:
            z = optimize.brentq(lambda z: _sum_of_gaps(z, num_codes) - wanted, -wanted / num_codes, z, xtol=1e-300)
        gaps = np.sqrt(8 * lag * (z * z + np.arange(1, num_codes)))
        return np.concatenate([[0], np.cumsum(gaps)]) - z * math.sqrt(2 * lag)

    @cached_property
    def density(self) -> Density:
        """The density itself."""
        return Density("uniform", stats.uniform())

    def fold(self, num_codes: int) -> tuple[np.ndarray, float]:
        """The steady state of K >= 2 codes at the largest lag, and that lag."""
        lag = float(self.critical_lag(np.array(num_codes)))
        codes = self.steady_state(num_codes, lag)
        assert codes is not None
        return codes, lag


def least_sum(num_codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where g is least, and that least value; infinity and 0 for K = 1.

    g'(z) is concave and rises from -1/2, so that Newton's method goes up to its root from 0.
    """
    inner, last = num_codes - 1, num_codes.astype(float)
    z = np.zeros(num_codes.shape)
    for _ in range(12):
        y = z * z
        roots, cubes = _power_sum(y, inner, -0.5), _power_sum(y, inner, -1.5)
        slope = z * (roots + (y + last) ** -0.5 / 2) - 0.5
        curvature = roots - y * cubes + last * (y + last) ** -1.5 / 2
        z = np.where(inner > 0, z - slope / curvature, 0.0)
    least = -z / 2 + _power_sum(z * z, inner, 0.5) + np.sqrt(z * z + last) / 2
    return np.where(inner > 0, z, np.inf), np.where(inner > 0, least, 0.0)


def _sum_of_gaps(z: float, num_codes: int) -> float:
    y = np.array(z * z)
    return float(-z / 2 + _power_sum(y, np.array(num_codes - 1), 0.5) + np.sqrt(y + num_codes) / 2)


def _power_sum(y: np.ndarray, count: np.ndarray, power: float) -> np.ndarray:
    """The sum of (y + k)^power over k = 1 .. count."""
    terms = np.where(count[..., None] >= _FIRST_TERMS, (y[..., None] + _FIRST_TERMS) ** power, 0.0)
    first, last = y + len(_FIRST_TERMS), y + np.maximum(count, len(_FIRST_TERMS))
    rest = (last ** (power + 1) - first ** (power + 1)) / (power + 1) + (last**power - first**power) / 2
    for weight, order in ((1 / 12, 1), (-1 / 720, 3), (1 / 30240, 5)):
        falling = math.prod(power - i for i in range(order))
        rest = rest + weight * falling * (last ** (power - order) - first ** (power - order))
    return terms.sum(axis=-1) + rest
