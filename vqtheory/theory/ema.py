"""How fast an encoder may drift before an EMA codebook loses codes: 1-D uniform distribution, large batches.

Each code divides by its own count, so every code that is alive lags behind its centroid by the same
l = v / (1 - gamma), which makes the cells' widths arithmetic: w_(k+1) = w_k + 4 l from the trailing edge on.
They fill a support of width L with w_1 > 0 if and only if v < L (1 - gamma) / (2 K (K - 1)): the steady state exists.

Before that it loses stability, since the counts follow the masses late. In units of the lag, with w_1 = omega l,
a disturbance xi_k z^t of the codes obeys, with z = 1 + (1 - gamma) lambda,

    lambda xi_k = (xi_(k+1) - 2 xi_k + xi_(k-1)) / 4
                  + gamma lambda / ((1 + lambda) (omega + 4 (k - 1))) (xi_(k+1) - xi_(k-1)) / 2

with xi_0 = -xi_1 and xi_(K+1) = -xi_K. All |z| < 1 if and only if omega > omega_c, which is, with c = 1 - omega_c / 2,

    v < v_c(K) = L (1 - gamma) / (2 K (K - c)).

The mode that grows at v_c is a swing of the trailing cell and its count, hence c hardly depends on K: for gamma -> 1
it is 2 - 2 / sqrt(3) = 0.845 for K = 2 and 0.851484 for K >= 8; for gamma = 0.9 it is 0.855 and 0.862.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy import optimize

from vqtheory._base import check
from vqtheory.theory._arguments import LARGEST, closed_form, integers, plain, reals

_SETTLED = 12  # from this K on the offset is the same to ten digits


@closed_form
def ema_critical_speed(num_codes: Any, decay: Any, width: Any = 1.0, batch_size: Any = None) -> Any:
    """The fastest drift that all K codes of an EMA codebook can follow.

        v_c = L (1 - gamma) / (2 K (K - c)),     c(K, gamma) about 0.85

    Exact for a uniform distribution on an interval, in the limit of large batches and for a slow onset; the steady state
    itself exists up to `ema_existence_speed`. A sudden onset, from the standing optimum, loses a code at 0.92 v_c for
    K = 2 and 0.98 v_c for K = 3; from K = 4 on it makes no difference. The lowering by a finite batch,

        v_c (1 - 1.5 K^0.3 sqrt((1 - gamma) / B)),

    is a fit to simulated thresholds, within 20 % of the lowering (K = 4 to 32, gamma = 0.9 to 0.999, B = 8 to 1024, runs
    of 12 K^2 / (1 - gamma) updates; less for K = 2 and 3). All of it is for one dimension.

    Parameters
    ----------
    num_codes : int or array of int
        K >= 1.
    decay : float or array
        gamma in [0, 1), per update.
    width : float or array, default 1
        L, the width of the support; v_c is in its unit per update.
    batch_size : int or array of int, optional
        B. Without it the limit B -> infinity.

    Returns
    -------
    float or array
        Broadcast; infinite for K = 1.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> [round(ema_critical_speed(K, decay=0.99) / ema_existence_speed(K, decay=0.99), 3) for K in (2, 4, 8, 16)]
    [0.867, 0.953, 0.979, 0.99]
    """
    owner = "ema_critical_speed"
    num_codes, decay, width = integers(owner, "num_codes", num_codes), check_decay(owner, decay), _width(owner, width)
    speed = width * _critical_lag(num_codes, decay) * (1 - decay)
    if batch_size is not None:
        batch_size = integers(owner, "batch_size", batch_size)
        speed = speed * np.maximum(0, 1 - 1.5 * num_codes**0.3 * np.sqrt((1 - decay) / batch_size))
    return plain(speed)


@closed_form
def ema_existence_speed(num_codes: Any, decay: Any, width: Any = 1.0) -> Any:
    """The drift up to which K codes of an EMA codebook have a steady state, stable or not.

        v = L (1 - gamma) / (2 K (K - 1))

    Exact for a uniform distribution on an interval and large batches. Parameters as for `ema_critical_speed`.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> ema_existence_speed(num_codes=[1, 2, 8], decay=0.888)
    array([  inf, 0.028, 0.001])
    """
    owner = "ema_existence_speed"
    num_codes, decay, width = integers(owner, "num_codes", num_codes), check_decay(owner, decay), _width(owner, width)
    with np.errstate(divide="ignore"):
        return plain(width * (1 - decay) / (2 * num_codes * (num_codes - 1)))


@closed_form
def ema_surviving_codes(speed: Any, decay: Any, width: Any = 1.0) -> Any:
    """The largest K with `ema_critical_speed` (K) >= v: how many codes of an EMA codebook can follow a drift.

    Asymptotically sqrt(L (1 - gamma) / 2v). Exact as `ema_critical_speed` is. A larger codebook that is met by a sudden
    drift is left with as many, where that is 4 or more (integrated from 8, 16 and 32 codes; there is no proof), and with
    one code less for 2 and for 3 near their critical speeds.

    Parameters
    ----------
    speed : float or array
        v > 0, per update.
    decay, width
        As for `ema_critical_speed`.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> ema_surviving_codes(speed=[1e-5, 1e-3, 1e-1], decay=0.99).tolist()
    [22, 2, 1]
    """
    owner = "ema_surviving_codes"
    speed, decay, width = reals(owner, "speed", speed, 0, above=True), check_decay(owner, decay), _width(owner, width)
    ratio = width * (1 - decay) / (2 * speed)  # K (K - c) <= ratio, with c between 0.8 and 1
    low = np.floor(0.4 + np.sqrt(0.16 + ratio))
    if np.any(low >= LARGEST):
        raise ValueError(f"More than {LARGEST} codes survive in {owner}.")
    low = low.astype(np.int64)
    lives = _critical_lag(low + 1, decay) * width * (1 - decay) >= speed
    return plain(np.maximum(1, low + lives))


@closed_form
def ema_required_decay(num_codes: Any, speed: Any, width: Any = 1.0) -> Any:
    """The largest gamma with which all K codes of an EMA codebook can follow a drift.

    `ema_critical_speed` (K, gamma) = v, solved for gamma to 1e-12 of 1 - gamma; 1 for K = 1, and nan where even
    gamma = 0, Lloyd's algorithm, is too slow.

    Parameters
    ----------
    num_codes : int or array of int
        K >= 1.
    speed : float or array
        v > 0, per update.
    width : float or array, default 1
        L, the width of the support.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> decay = ema_required_decay(num_codes=64, speed=1e-6)
    >>> round(decay, 6), round(ema_critical_speed(64, decay), 12)
    (0.991917, 1e-06)
    """
    owner = "ema_required_decay"
    num_codes, width = integers(owner, "num_codes", num_codes), _width(owner, width)
    lag = reals(owner, "speed", speed, 0, above=True) / width
    return plain(np.vectorize(_required_decay, otypes=[np.float64])(num_codes, lag))


def _required_decay(num_codes: int, speed: float) -> float:
    """By fixed point: 1 - gamma = v / l_c(gamma), which depends on gamma but little."""
    if num_codes == 1:
        return 1.0
    gain = 2 * speed * num_codes * (num_codes - 1)  # the least it can be, at c = 1
    for _ in range(50):
        if gain > 1:
            return np.nan
        last, gain = gain, speed / float(_critical_lag(num_codes, 1 - gain))
        if abs(gain - last) <= 1e-13 * gain:
            break
    return 1 - gain


def _critical_lag(num_codes: Any, decay: Any) -> np.ndarray:
    """l_c = v_c / (1 - gamma) on a support of width 1."""
    offset = np.vectorize(lambda K, gamma: _offset(min(K, _SETTLED), gamma), otypes=[np.float64])(num_codes, decay)
    with np.errstate(divide="ignore"):
        return np.where(np.equal(num_codes, 1), np.inf, 1 / (2 * num_codes * (num_codes - offset)))


@lru_cache(maxsize=4096)
def _offset(num_codes: int, decay: float) -> float:
    """c(K, gamma): the trailing cell is omega = 2 (1 - c) lags wide where the steady state loses stability."""
    none, decay = 1e-9, min(decay, 1 - 1e-7)  # beyond, c no longer changes, and |z| - 1 drowns in rounding
    if num_codes == 1 or _growth(num_codes, decay, none) <= 1:
        return 1.0
    return 1 - optimize.brentq(lambda omega: _growth(num_codes, decay, omega) - 1, none, 1, xtol=1e-14) / 2


def _growth(num_codes: int, decay: float, omega: float) -> float:
    """The largest |z|: by what factor a disturbance of codes and counts grows per update."""
    inner, gain = np.ones(num_codes - 1), 1 - decay
    centroid = (np.diag(inner, 1) + np.diag(inner, -1) - 2 * np.eye(num_codes)) / 4  # m - u by the codes
    mass = (np.diag(inner, 1) - np.diag(inner, -1)) / 2  # p by the codes
    centroid[[0, -1], [0, -1]] -= 1 / 4
    mass[[0, -1], [0, -1]] += [1 / 2, -1 / 2]
    ratio = 1 / (omega + 4 * np.arange(num_codes)[:, None])  # l / w_k
    counts = np.hstack([gain * mass, decay * np.eye(num_codes)])
    codes = np.hstack([np.eye(num_codes) + gain * (centroid + ratio * mass), np.zeros_like(mass)]) - gain * ratio * counts
    return float(np.max(np.abs(np.linalg.eigvals(np.vstack([codes, counts])))))


def check_decay(owner: str, decay: Any) -> np.ndarray:
    """gamma in [0, 1)."""
    checked = reals(owner, "decay", decay, 0, 1)
    if np.any(checked == 1):
        raise check.fail(owner, "decay", "a number >= 0 and < 1", decay)
    return checked


def _width(owner: str, width: Any) -> np.ndarray:
    return reals(owner, "width", width, 0, above=True)
