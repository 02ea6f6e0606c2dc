"""Drifts other than a steady translation: clouds that shrink, grow or jump.

In a cloud that scales by exp(rho t) about its centre, codes at rest move relative to it, at z = x exp(-rho t)
with the speed -rho z. In one dimension, in a uniform cloud of width 1, the steady states of the mean motion obey

    p_k (m_k - u_k) = (rho / eta) u_k,

u_k from the centre: a drift whose speed grows with the distance, inwards in a cloud that grows (rho > 0) and
outwards in one that shrinks (rho < 0). Derived for this package.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from scipy import linalg, optimize, special

from vqtheory.theory._arguments import closed_form, integers, plain, reals

_SETTLED = 1024  # codes, from where on 1 - rho_c / its limit is taken to fall as 1 / K


@closed_form
def critical_shrink_rate(num_codes: Any, step_size: Any) -> Any:
    """The fastest rate rho at which a uniform cloud in one dimension may shrink, as exp(-rho t), without losing a code.

    The codes are pushed outwards. Their symmetric steady state, with borders at
    b_k = u_k + sqrt((b_(k-1) - u_k)^2 - 2 (rho / eta) u_k) from the centre on, loses its stability at rho_c, to a
    mode in which all codes lean to one side: for K = 2 at rho_c = (1/2 - sqrt(1/8)) eta. For large K

        rho_c -> (eta / 6) (Be(2/3, 2/3) / K)^3 = 1.443 eta K^-3,

    of which rho_c is 0.81 for K = 2, 0.94 for 8 and 0.99 for 64.

    Parameters
    ----------
    num_codes : int or array of int
        K >= 1. One code is never lost: the rate is infinite.
    step_size : float or array
        eta > 0.

    Returns
    -------
    float or array
        Per update, whatever the width of the cloud. Exact for the mean motion up to K = 1024, to 3e-6 beyond.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> round(critical_shrink_rate(2, step_size=1.0) - (0.5 - 0.125**0.5), 12)
    0.0
    >>> (critical_shrink_rate([8, 64, 4096], step_size=1.0) * np.array([8, 64, 4096]) ** 3).round(4)
    array([1.3611, 1.431 , 1.4428])
    """
    num_codes = integers("critical_shrink_rate", "num_codes", num_codes)
    step_size = reals("critical_shrink_rate", "step_size", step_size, 0, above=True)
    return plain(step_size * np.vectorize(_shrink_rate, otypes=[np.float64])(num_codes))


@closed_form
def shrink_surviving_codes(rate: Any, step_size: Any) -> Any:
    """How many codes a cloud keeps that shrinks as exp(-rho t): the largest K with `critical_shrink_rate` (K) >= rho.

    About 1.13 (eta / rho)^(1/3). Parameters: rate, float or array, rho > 0 per update; step_size, eta > 0.

    Examples
    --------
    >>> shrink_surviving_codes([1e-1, 1e-3, 1e-5], step_size=0.1)
    array([ 1,  5, 24])
    """
    rate = reals("shrink_surviving_codes", "rate", rate, 0, above=True)
    step_size = reals("shrink_surviving_codes", "step_size", step_size, 0, above=True)

    def survivors(relative: float) -> int:
        high = int(np.cbrt(_limit(1) / relative)) + 2  # rho_c is below its limit
        low = 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _shrink_rate(middle) >= relative else (low, middle)
        return low

    return plain(np.vectorize(survivors, otypes=[np.int64])(rate / step_size))


@closed_form
def uncrowded_codes(rate: Any, step_size: Any) -> Any:
    """How many codes keep a share of the mass in a uniform cloud in one dimension that grows as exp(rho t).

    Growth kills no code: the drift pushes towards the centre, where there is always mass. But more than

        K = (18 eta / rho)^(1/3)

    do not keep up with it: they are (6 rho u^2 / eta)^(1/3) apart at the distance u from the centre, and all further
    codes crowd there with next to no mass each. Asymptotic for large K.

    Parameters: rate, float or array, rho > 0 per update; step_size, float or array, eta > 0.

    Examples
    --------
    >>> round(uncrowded_codes(1e-5, step_size=0.1), 1)
    56.5
    """
    rate = reals("uncrowded_codes", "rate", rate, 0, above=True)
    return plain(np.cbrt(18 * reals("uncrowded_codes", "step_size", step_size, 0, above=True) / rate))


@closed_form
def jump_surviving_codes(num_codes: Any, jump: Any) -> Any:
    """At least how many codes of the optimal quantizer of a uniform cloud in one dimension survive when it jumps.

    A jump by d widths leaves behind the codes whose cells are all behind the cloud afterwards. Those that are still
    inside keep winning, and none of them dies when they spread out again: max(1, K - floor(K d)).

    Parameters: num_codes, int or array, K >= 1; jump, float or array, d >= 0 in widths of the cloud.

    Examples
    --------
    >>> jump_surviving_codes(16, [0.0, 0.1, 0.5, 2.0])
    array([16, 15,  8,  1])
    """
    num_codes = integers("jump_surviving_codes", "num_codes", num_codes)
    jump = reals("jump_surviving_codes", "jump", jump, 0)
    return plain(np.maximum(1, num_codes - np.floor(num_codes * jump * (1 + 1e-15) + 1e-12)).astype(np.int64))


def _limit(num_codes: int) -> float:
    return float(special.beta(2 / 3, 2 / 3) / num_codes) ** 3 / 6


@cache
def _shrink_rate(num_codes: int) -> float:
    """rho_c / eta, where the least eigenvalue of -d/du (p_k (m_k - u_k) + (rho / eta) u_k) is 0."""
    if num_codes == 1:
        return np.inf
    if num_codes > _SETTLED:
        missing = 1 - _shrink_rate(_SETTLED) / _limit(_SETTLED)
        return _limit(num_codes) * (1 - missing * _SETTLED / num_codes)
    limit = _limit(num_codes)
    return optimize.brentq(lambda rate: _least_eigenvalue(num_codes, rate), 0.5 * limit, limit, xtol=1e-15 * limit)


def _least_eigenvalue(num_codes: int, rate: float) -> float:
    codes = _symmetric(num_codes, rate)
    gaps = np.diff(codes) / 4
    mass = np.diff((codes[:-1] + codes[1:]) / 2, prepend=-0.5, append=0.5)
    diagonal = mass - np.append(gaps, 0) - np.append(0, gaps)
    return float(linalg.eigvalsh_tridiagonal(diagonal, -gaps, select="i", select_range=(0, 0))[0]) - rate


def _symmetric(num_codes: int, rate: float) -> np.ndarray:
    """The symmetric steady state: the chain from the centre on whose last border is the edge of the cloud."""

    def half(first: float) -> tuple[list[float], float]:
        border, code, codes = (first, 2 * first, [0.0]) if num_codes % 2 else (0.0, first, [])
        for _ in range(num_codes // 2):
            codes.append(code)
            border = code + math.sqrt(max((code - border) ** 2 - 2 * rate * code, 0.0))
            code = 2 * border - code
        return codes, border

    first = optimize.brentq(lambda first: half(first)[1] - 0.5, 0.0, 0.5, xtol=1e-16)
    right = np.array(half(first)[0])
    return np.concatenate([-right[::-1], right[num_codes % 2 :]])
