"""The collapse law: how fast may the latents drift before codes are lost?

In the frame that moves with the drift a living code lags behind the centroid of its cell by
v / (eta p_k): codes that are rarely chosen lag more, lose mass, and lag more still. All K codes
can live if and only if the discrete steady state

    p_k (m_k - u_k) = a,   a = v / eta,   borders midway between codes, outer cells open

has a solution. The critical speed is eta times the largest a that has one. It is exact for the
mean motion of plain VQ (and of any rule with its mean motion) on a uniform law and on any
log-concave density; for other densities it is the speed up to which no code dies from a start
above the steady state. Samples add noise, which lowers the threshold of a run at a finite step
size: see the simulations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory import _check
from vqtheory.theory._arguments import integers, plain, reals
from vqtheory.theory._relaxed import MOST_CODES, OnTheLine
from vqtheory.theory._uniform import Uniform


def critical_speed(num_codes: Any, step_size: Any, *, width: float = 1.0, density: Any = None, direction: int = 1) -> Any:
    """The speed of drift up to which K codes can all live, in distance per update.

    On an interval with a uniform law, in closed form: v_c = eta width / (8 G^2) with G the least
    value over z >= 0 of -z/2 + sum_(k<K) sqrt(z^2 + k) + sqrt(z^2 + K)/2. K = 2 has
    eta sqrt(3)/36; v_c ~ (9/32) eta K^-3 for many codes; one code is never lost.

    Parameters
    ----------
    num_codes : int or array of int
        K.
    step_size : float or array
        eta, in the units of `vqtheory.rules.VQ`; broadcast against `num_codes`.
    width : float, default 1
        Length of the support of the uniform law.
    density : frozen scipy distribution or 1-D source, optional
        Another law on the line.
    direction : {1, -1}, default 1
        Which way a `density` drifts.

    Raises
    ------
    ValueError
        For values out of range, and for a density without finite variance.

    Examples
    --------
    >>> abs(critical_speed(2, step_size=1.0) - 3**0.5 / 36) < 1e-15
    True
    >>> critical_speed([1, 64], step_size=0.05)
    array([        inf, 5.371...e-08])
    >>> from scipy import stats
    >>> round(critical_speed(2, step_size=1.0, density=stats.norm()), 5)
    0.10231
    """
    codes = integers("critical_speed", "num_codes", num_codes)
    rates = reals("critical_speed", "step_size", step_size, 0, above=True)
    return plain(
        rates * _width("critical_speed", width, density) * _law("critical_speed", density, direction).critical_lag(codes)
    )


def surviving_codes(speed: Any, step_size: float, *, width: float = 1.0, density: Any = None, direction: int = 1) -> Any:
    """How many codes survive a steady drift, however many one starts with: the largest K with v_c(K) >= speed.

    About (9 eta width / (32 speed))^(1/3) on a uniform law. Parameters as of `critical_speed`.

    >>> surviving_codes(1e-5, step_size=0.05), surviving_codes([1e-4, 1e-6], step_size=0.05)
    (11, array([ 5, 24]))
    """
    speeds = reals("surviving_codes", "speed", speed, 0, above=True)
    eta = _check.real("surviving_codes", "step_size", step_size, 0, above=True)
    law, scale = _law("surviving_codes", density, direction), eta * _width("surviving_codes", width, density)
    counts = [_largest(law, value / scale) for value in speeds.ravel().tolist()]
    return plain(np.array(counts).reshape(speeds.shape))


def required_step_size(num_codes: Any, speed: Any, *, width: float = 1.0, density: Any = None, direction: int = 1) -> Any:
    """The step size eta from which K codes all live at a speed of drift: speed over the critical speed at eta = 1.

    >>> round(required_step_size(64, speed=1e-6), 3)
    0.931
    """
    speeds = reals("required_step_size", "speed", speed, 0)
    unit = critical_speed(num_codes, 1.0, width=width, density=density, direction=direction)
    return plain(speeds / unit)


def largest_codebook(speed: Any, step_size: float, *, width: float = 1.0, density: Any = None, direction: int = 1) -> Any:
    """The largest codebook that a drift leaves whole; the same number as `surviving_codes`.

    >>> largest_codebook(1e-5, step_size=0.05)
    11
    """
    return surviving_codes(speed, step_size, width=width, density=density, direction=direction)


def steady_state(num_codes: int, lag: float, *, density: Any = None, direction: int = 1) -> np.ndarray | None:
    """Where K codes ride in the frame of the cloud at a = speed / step size, [K] ascending; None if they cannot.

    The uniform law is that on [0, 1], with the drift to the right.

    >>> steady_state(2, lag=0.01).round(4), steady_state(2, lag=0.05)
    (array([0.2081, 0.7114]), None)
    """
    codes = _check.integer("steady_state", "num_codes", num_codes, 1, MOST_CODES)
    return _law("steady_state", density, direction).steady_state(codes, _check.real("steady_state", "lag", lag, 0))


def _law(owner: str, density: Any, direction: int) -> Uniform | OnTheLine:
    if direction not in (1, -1):
        raise _check.fail(owner, "direction", "1 or -1", direction)
    return Uniform() if density is None else OnTheLine(owner, density, direction)


def _width(owner: str, width: float, density: Any) -> float:
    """The unit of length: a density brings its own."""
    width = _check.real(owner, "width", width, 0, above=True)
    if density is not None and width != 1:
        raise _check.fail(owner, "width", "1 where a density is given, which has a width of its own", width)
    return width


def _largest(law: Uniform | OnTheLine, lag: float) -> int:
    """The largest K that can live at a lag: K codes can only if fewer can."""
    low, high = 1, 2
    while high <= MOST_CODES and law.can_live(np.array(high), np.array(lag)):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if law.can_live(np.array(middle), np.array(lag)) else (low, middle)
    return low
