"""The collapse law of a codebook that is trained by Adam.

Adam divides a code's mean gradient by the root mean square of its gradients, so that its step has no unit of its
own. With r = v / lr the drift per coordinate and update in units of the learning rate, N latents per update, a
cell of mass p and standard deviation s along the drift, and a code that lags by l behind its cell's mean, the
gradient has the mean p l and the mean square (p / N)(s^2 + l^2) + (1 - 1/N) p^2 l^2. Their ratio is r where

    l = r s / sqrt(N p (1 - r^2) + r^2 p - r^2).

A code that wins seldom still moves almost as fast as one that wins often: no code is faster than the learning
rate, and the law is another than that of SGD (`vqtheory.theory.critical_speed`). In one dimension and for a uniform
distribution of width L, s = p L / sqrt 12 and borders are midway between codes, so that a code at the distance e_k ahead of
the border behind it has

    p_k / 2 - e_k = l(p_k),     e_(k+1) = p_k - e_k,     sum of p_k = 1,

lengths in units of L. It is the steady state of the mean motion where lr is small against the cells and 1 / (1 - 0.999)
updates are few against the time it takes to cross one. Derived for this package.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from scipy import optimize

from vqtheory._base import check
from vqtheory._kernels.jit import kernel
from vqtheory.theory._arguments import closed_form, integers, plain, reals

_MOST_CODES = 16_384
_FASTEST = 1 - 1e-9  # of the learning rate, for which a chain is looked for


@closed_form
def adam_lag(ratio: Any, mass: Any, spread: Any, batch_size: Any) -> Any:
    """How far a code trails behind its cell's mean, l = r s / sqrt(N p (1 - r^2) + r^2 p - r^2).

    Parameters
    ----------
    ratio : float or array
        r = v / lr >= 0: the drift of a coordinate per update over the learning rate.
    mass : float or array
        p, the share of latents that the code wins, in (0, 1].
    spread : float or array
        s >= 0, the standard deviation of that coordinate in the cell; l has its unit.
    batch_size : int or array
        N, latents per update.

    Returns
    -------
    float or array
        inf where no lag is enough: for r >= 1, and for cells that win too seldom.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> round(adam_lag(0.5, mass=0.1, spread=1.0, batch_size=256), 4)
    0.1148
    >>> adam_lag(1.0, mass=0.1, spread=1.0, batch_size=256)
    inf
    """
    ratio, mass = reals("adam_lag", "ratio", ratio, 0), reals("adam_lag", "mass", mass, 0, 1, above=True)
    spread, batch_size = reals("adam_lag", "spread", spread, 0), integers("adam_lag", "batch_size", batch_size)
    square = batch_size * mass * (1 - ratio**2) + ratio**2 * mass - ratio**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return plain(np.where((square > 0) & (ratio < 1), ratio * spread / np.sqrt(square), np.inf))


@closed_form
def adam_effective_step(step_size: Any, mass: Any, spread: Any, batch_size: Any) -> Any:
    """The step size of SGD with which a code would trail as far behind a slow drift as it does under Adam.

        eta = (lr / s) sqrt(N / p)

    where `adam_lag` is v / (eta p), as long as v is small against lr and lr against s. It is larger the rarer the code
    and the narrower its cell: eta p = (lr / s) sqrt(N p) is the share of its distance that the code makes up per update.

    Parameters
    ----------
    step_size : float or array
        lr > 0.
    mass : float or array
        p, the share of latents that the code wins, in (0, 1].
    spread : float or array
        s > 0, the standard deviation of a coordinate in the cell, in the unit of lr.
    batch_size : int or array
        N, latents per update.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    A VQ-VAE at lr = 5e-4, with 4,096 latents per update and cells of spread 0.03, of average mass and of a tenth of it:

    >>> adam_effective_step(5e-4, mass=[1 / 1024, 0.1 / 1024], spread=0.03, batch_size=4096).round()
    array([ 34., 108.])
    """
    owner = "adam_effective_step"
    step_size, mass = reals(owner, "step_size", step_size, 0, above=True), reals(owner, "mass", mass, 0, 1, above=True)
    spread, batch_size = reals(owner, "spread", spread, 0, above=True), integers(owner, "batch_size", batch_size)
    return plain(step_size / spread * np.sqrt(batch_size / mass))


@closed_form
def adam_critical_speed(num_codes: Any, step_size: Any, batch_size: Any) -> Any:
    """The largest speed of drift v_c, per coordinate, at which all K codes live that Adam trains.

    For a uniform distribution in one dimension, whatever its width: it is the learning rate that counts, as long as it is
    small against the cells. For small v_c / lr and many codes v_c -> 3 lr sqrt(N) K^(-3/2). Above v = lr nothing keeps up.

    Parameters
    ----------
    num_codes : int or array of int
        K, 1 to 16,384. One code keeps up with any v < lr.
    step_size : float or array
        lr > 0.
    batch_size : int or array of int
        N, latents per update.

    Returns
    -------
    float or array
        Exact for the steady state above. Simulated runs of K = 4 to 32 codes lose their first code within a tenth of it
        where lr is 0.001 cells, 1 / K of the width; at 0.84 to 0.93 of it where lr is 0.003 cells; and at 0.6 to 0.9
        where it is 0.02, when Adam's memory of 1,000 updates outlasts the crossing of a cell.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> (adam_critical_speed([8, 16, 32], step_size=1e-4, batch_size=1024) / 1e-4).round(3)
    array([0.949, 0.777, 0.431])
    """
    owner = "adam_critical_speed"
    num_codes, batch_size = _codes(owner, num_codes), integers(owner, "batch_size", batch_size)
    step_size = reals(owner, "step_size", step_size, 0, above=True)
    return plain(step_size * np.vectorize(_critical_ratio, otypes=[np.float64])(num_codes, batch_size))


@closed_form
def adam_surviving_codes(speed: Any, step_size: Any, batch_size: Any, num_codes: Any = _MOST_CODES) -> Any:
    """How many codes a steady drift leaves alive under Adam: the largest K with `adam_critical_speed` (K) >= v; at least 1.

    About (3 lr sqrt(N) / v)^(2/3). Parameters: speed, float or array, v > 0 per coordinate and update; step_size, lr;
    batch_size, N; num_codes, codes at the start, up to 16,384 and so many by default. Raises `ValueError` for others.

    Examples
    --------
    >>> adam_surviving_codes([1e-6, 1e-5, 5e-5], step_size=1e-4, batch_size=1024)
    array([449,  94,  27])
    """
    owner = "adam_surviving_codes"
    speed = reals(owner, "speed", speed, 0, above=True)
    step_size, batch_size = reals(owner, "step_size", step_size, 0, above=True), integers(owner, "batch_size", batch_size)
    most = _codes(owner, num_codes)
    return plain(np.vectorize(_survivors, otypes=[np.int64])(speed / step_size, batch_size, most))


@closed_form
def weight_decay_speed(step_size: Any, weight_decay: Any, distance: Any) -> Any:
    """The drift that weight decay amounts to, on a stationary encoder too: eta lambda |c|, towards the origin.

    It is the same for every code, and a translation, as far as the codebook is small against its distance from the
    origin; put it into `critical_speed`, with the same eta, or `adam_critical_speed` to see what survives. Exact for
    decoupled decay. Parameters: floats or arrays >= 0; `ValueError` for others.

    Examples
    --------
    >>> weight_decay_speed(step_size=1e-3, weight_decay=0.01, distance=0.6)
    6e-06
    """
    owner = "weight_decay_speed"
    step_size, weight_decay = reals(owner, "step_size", step_size, 0), reals(owner, "weight_decay", weight_decay, 0)
    return plain(step_size * weight_decay * reals(owner, "distance", distance, 0))


def _codes(owner: str, num_codes: Any) -> np.ndarray:
    counts = integers(owner, "num_codes", num_codes)
    if np.any(counts > _MOST_CODES):
        raise check.fail(owner, "num_codes", f"an int <= {_MOST_CODES}", int(counts.max()))
    return counts


def _survivors(ratio: float, batch_size: int, most: int) -> int:
    """By strides that double, down from the law for small v / lr, which is never exceeded and close to what is reached."""
    high, stride = int(min(most, (3 * math.sqrt(batch_size) / ratio) ** (2 / 3) + 1)) + 1, 1
    low = max(1, high - stride)
    while low > 1 and not _can_live(low, ratio, batch_size):
        high, stride = low, 2 * stride
        low = max(1, high - stride)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _can_live(middle, ratio, batch_size) else (low, middle)
    return low


def _can_live(num_codes: int, ratio: float, batch_size: int) -> bool:
    """Whether r <= v_c / lr, by one chain at r; the root itself is asked for only where it is too close to call."""
    if ratio > 1:
        return False
    width = _narrowest(min(ratio, _FASTEST), num_codes, batch_size, 2.0)
    return width <= 1 if abs(width - 1) > 1e-9 else _critical_ratio(num_codes, batch_size) >= ratio


@cache
def _critical_ratio(num_codes: int, batch_size: int) -> float:
    """v_c / lr: the largest r at which the narrowest chain of K cells fits into the cloud."""
    if num_codes == 1:
        return 1.0
    if _narrowest(_FASTEST, num_codes, batch_size) <= 1:
        return 1.0
    return optimize.brentq(lambda ratio: _narrowest(ratio, num_codes, batch_size) - 1, 0.0, _FASTEST, xtol=1e-13)


def _narrowest(ratio: float, num_codes: int, batch_size: int, enough: float = math.inf) -> float:
    """The least width of a chain, over where its first code is; chains are not followed beyond `enough`."""
    offsets = np.linspace(-2, 1, 61) / num_codes
    widths = [_width(offset, ratio, num_codes, batch_size, enough) for offset in offsets]
    near = min(max(int(np.argmin(widths)), 1), len(offsets) - 2)
    bounds = (offsets[near - 1], offsets[near + 1])
    found = optimize.minimize_scalar(
        lambda offset: _width(offset, ratio, num_codes, batch_size, enough), bounds=bounds, method="bounded"
    )
    return min(float(found.fun), min(widths))


@kernel
def _width(offset, ratio, num_codes, batch_size, enough):
    """The mass of K cells one after the other, the first code at a distance ahead of the border behind it.

    It ends with the cell that takes it beyond `enough`.
    """
    share = batch_size * (1 - ratio * ratio) + ratio * ratio  # (l r / s)^2 = 1 / (share p - r^2)
    total = 0.0
    for _ in range(num_codes):
        mass = _cell(offset, ratio, share)
        total += mass
        offset = mass - offset
        if total > enough:
            break
    return total


@kernel
def _cell(offset, ratio, share):
    """The root p of p/2 - e = r p / sqrt(12 (share p - r^2)); the left side less the right one rises with p."""
    low = max(ratio * ratio / share, 2 * offset)
    high = 2 * low + 1e-300
    while high / 2 - offset < ratio * high / math.sqrt(12 * (share * high - ratio * ratio)):
        high *= 2
    for _ in range(60):
        mass = (low + high) / 2
        inside = share * mass - ratio * ratio
        if inside <= 0 or mass / 2 - offset < ratio * mass / math.sqrt(12 * inside):
            low = mass
        else:
            high = mass
    return high
