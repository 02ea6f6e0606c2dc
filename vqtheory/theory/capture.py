"""How fast an encoder may drift before NSVQ loses a code for good: the capture speed.

A code that wins nothing, a distance y behind the mean of the cloud along the drift e, is pulled on by

    g(y) = eta kappa E[exp(-|x - u|^2 / 2 sigma^2) (x - u) . e],     u = mean - y e,

which is eta kappa sigma^2 times the slope of the density smoothed by the kernel. It falls back until g(y) = v and is
then carried along. That is possible while v <= v_NS = max g, whatever the number of codes. Beyond the outer root of
g(y) = v a code is lost. For clouds in closed form, S^2 = sigma^2 + 1:

    a cloud small against sigma     v_NS = eta kappa sigma e^(-1/2), an upper bound for every cloud
    uniform on [0, 1], at u         g = eta kappa sigma^2 (exp(-u^2 / 2 sigma^2) - exp(-(1 - u)^2 / 2 sigma^2))
    normal, N(0, I) in D dim.       v_NS = eta kappa (sigma^2 / S^2)^((D + 2) / 2) S e^(-1/2)

The softmax form with kappa and tau acts like the gaussian form with the same kappa and sigma^2 = tau / 2, times

    1 / (1 - phi + phi e^(-1/2)),     phi the fraction of the K codes that are captured,

since captured codes, tau / 2 in squared distance behind the others, add little to the normalisation. That is 1 for
a lone captured code and 1.65 where hardly a code still lives.

v_NS is about codes that were not chosen. Plain VQ holds its codes up to v_c (`vqtheory.theory.critical_speed`), and so
a run keeps all its codes up to max(v_NS, v_c) at least. For the uniform distribution that is the threshold within 2 % where
the two differ by a factor of 4 or more; where they are equal winning and being pulled add up, to 1.44 times it for K = 2
and 1.21 times for K = 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special

from vqtheory._base import check
from vqtheory.rules.nsvq import NSVQ
from vqtheory.streams.base import Source
from vqtheory.streams.sources import Gaussian, Uniform
from vqtheory.theory._arguments import closed_form, plain, reals
from vqtheory.theory._line import line

_SCAN = 80
_SAMPLES = 2**14  # of a source whose density is not at hand


# (y, sigma) to E[k d, d > 0], E[k |d|, d < 0] and E[|d|, d < 0], with d how far ahead of the code a sample is
Pulls = Callable[[float, float], tuple[float, float, float]]


class Cloud(NamedTuple):
    """A cloud as a code behind it feels it."""

    pulls: Pulls
    trail: float  # how far behind the mean the cloud ends


@closed_form
def capture_speed(
    step_size: Any,
    bandwidth: Any,
    strength: Any = None,
    *,
    source: Any = None,
    form: str = "gaussian",
    direction: Any = None,
    captured: Any = 0.0,
    crowd: bool = False,
) -> Any:
    """v_NS, the fastest drift at which NSVQ carries along a code that wins nothing.

    Exact in the mean field (small eta) for a code that wins nothing, as behind a bounded cloud. On unbounded clouds the
    last code always wins what lies behind it: there v_NS is an upper bound, which `crowd` replaces by a lower one. The
    two are within 1 % of each other from sigma = 2 standard deviations on, 12 % at 1; of use below 1 is neither.
    The softmax form is asymptotic in sqrt(tau) over the cloud's width: low by 1 % at 3 widths, by 10 to 20 % at 1.

    Parameters
    ----------
    step_size : float or array
        eta > 0.
    bandwidth : float or array
        sigma > 0, a length; sqrt(tau) in the softmax form. v_NS is in its unit per update.
    strength : float or array, optional
        kappa; by default NSVQ's own, 0.5 (gaussian) or 0.01 (softmax).
    source : source, frozen scipy distribution, or samples [N, D], optional
        The cloud. A cloud small against sigma by default. Closed form for `Uniform` and `Gaussian`, quadrature for
        a density in one dimension, and the mean over samples otherwise (16,384 of a source without a density).
    form : {"gaussian", "softmax"}, default "gaussian"
    direction : int or sequence of D floats, optional
        Of the drift: 1 or -1 in one dimension, a vector in more dimensions; along the first axis by default.
    captured : float or array, default 0
        phi, for the softmax form; the gaussian form's weights do not know of other codes.
    crowd : bool, default False
        For the last code of a tight crowd, which wins all that lies behind it:
        max of eta (kappa E[k (x - u) . e, ahead] - E[(u - x) . e, behind]).

    Returns
    -------
    float or array
        Broadcast over all numbers.

    Raises
    ------
    ValueError
        For parameters out of range, and for a source that is none of the above.

    Examples
    --------
    >>> from vqtheory.streams import Uniform
    >>> round(capture_speed(step_size=0.05, bandwidth=0.3, source=Uniform(dim=1)), 7)
    0.0022415
    >>> round(capture_speed(step_size=0.05, bandwidth=0.3) / (0.05 * 0.5 * 0.3 * np.exp(-0.5)), 12)
    np.float64(1.0)
    """
    owner, crowd = "capture_speed", check.flag("capture_speed", "crowd", crowd)
    step_size, strength, sigma = _checked(owner, step_size, bandwidth, strength, form)
    phi = reals(owner, "captured", captured, 0, 1) if form == "softmax" else np.zeros(())
    cloud = _cloud(owner, source, direction)
    pull = np.vectorize(lambda s, kappa: _largest(cloud, s, kappa if crowd else 0.0)[1], otypes=[np.float64])
    return plain(step_size * strength * pull(sigma, strength) / (1 - phi + phi * np.exp(-0.5)))


@closed_form
def capture_reach(
    speed: Any,
    step_size: Any,
    bandwidth: Any,
    strength: Any = None,
    *,
    source: Any = None,
    form: str = "gaussian",
    direction: Any = None,
) -> Any:
    """How far behind the mean of the cloud a code may be at a speed v, and still be carried along.

    The outer root of g(y) = v: a code that wins nothing is caught up from any smaller distance, and lost from any
    larger one. Exact in the mean field; for the softmax form as for a lone captured code.

    Parameters
    ----------
    speed : float or array
        v >= 0, per update.
    step_size, bandwidth, strength, source, form, direction
        As for `capture_speed`.

    Returns
    -------
    float or array
        A distance; infinite at speed 0, and nan above the capture speed, where every code is lost.

    Raises
    ------
    ValueError
        As `capture_speed`.

    Examples
    --------
    >>> from vqtheory.streams import Uniform
    >>> capture_reach([0, 1e-3, 1e-2], step_size=0.05, bandwidth=0.3, source=Uniform(dim=1)).round(4)
    array([  inf, 0.88..., nan])
    """
    owner = "capture_reach"
    step_size, strength, sigma = _checked(owner, step_size, bandwidth, strength, form)
    speed, cloud = reals(owner, "speed", speed, 0), _cloud(owner, source, direction)
    reach = np.vectorize(lambda wanted, s: _outer_root(cloud, s, wanted), otypes=[np.float64])
    return plain(reach(speed / (step_size * strength), sigma))


def _checked(owner: str, step_size: Any, bandwidth: Any, strength: Any, form: str) -> tuple:
    """Step sizes, strengths, and the bandwidths of the equivalent gaussian kernels."""
    check.choice(owner, "form", form, ["gaussian", "softmax"])
    step_size = reals(owner, "step_size", step_size, 0, above=True)
    bandwidth = reals(owner, "bandwidth", bandwidth, 0, above=True)
    own = NSVQ(form=form)._strength
    strength = np.asarray(own) if strength is None else reals(owner, "strength", strength, 0, above=True)
    return step_size, strength, bandwidth / np.sqrt(2) if form == "softmax" else bandwidth


def _force(cloud: Cloud, y: float, sigma: float, kappa: float) -> float:
    """g(y) / (eta kappa); the crowd's where kappa > 0."""
    ahead, behind, lost = cloud.pulls(y, sigma)
    return ahead - (lost / kappa if kappa > 0 else behind)


def _largest(cloud: Cloud, sigma: float, kappa: float) -> tuple[float, float]:
    """Where the force is largest, and how large. It falls from a bandwidth behind the cloud on."""
    edge = cloud.trail + sigma * np.linspace(-4, 1.5, _SCAN)
    y = np.unique(np.concatenate([np.linspace(0, cloud.trail, _SCAN), edge[edge > 0]]))
    best = int(np.argmax([_force(cloud, each, sigma, kappa) for each in y]))
    bounds = y[max(best - 1, 0)], y[min(best + 1, len(y) - 1)]
    found = optimize.minimize_scalar(
        lambda each: -_force(cloud, each, sigma, kappa), bounds=bounds, method="bounded", options={"xatol": 1e-9 * sigma}
    )
    return float(found.x), max(0.0, -float(found.fun))


def _outer_root(cloud: Cloud, sigma: float, wanted: float) -> float:
    if wanted == 0:
        return np.inf
    inner, largest = _largest(cloud, sigma, 0.0)
    if wanted > largest:
        return np.nan
    outer = cloud.trail + 2 * sigma
    while _force(cloud, outer, sigma, 0.0) > wanted:
        outer += sigma
    return float(optimize.brentq(lambda y: _force(cloud, y, sigma, 0.0) - wanted, inner, outer, xtol=1e-14 * outer))


def _cloud(owner: str, source: Any, direction: Any) -> Cloud:
    """The cloud along the drift."""
    if source is None:
        return Cloud(lambda y, sigma: (y * np.exp(-0.5 * (y / sigma) ** 2), 0.0, 0.0), 0.0)
    if direction is not None:
        check.array(owner, "direction", direction, "1, -1 or a vector of finite numbers")
    on_axis = direction is None or (np.ndim(direction) == 0 and abs(direction) == 1)
    if isinstance(source, Gaussian):
        return Cloud(lambda y, sigma: _normal(y, sigma, source.dim), 12.0)
    if isinstance(source, Uniform) and on_axis:
        return Cloud(lambda y, sigma: _uniform(y, sigma, source.dim), 0.5)
    if hasattr(source, "pdf") or (isinstance(source, Source) and source.distribution() is not None):
        return _on_the_line(owner, source, direction)
    return _of_samples(owner, source, direction)


def _normal(y: float, sigma: float, dim: int) -> tuple[float, float, float]:
    """The product of the two normal curves is one, with d of mean sigma^2 y / S^2 and deviation sigma / S."""
    total = 1 + sigma**2
    height = (sigma**2 / total) ** (dim / 2) * np.exp(-0.5 * y**2 / total)
    mean, deviation = y * sigma**2 / total, sigma / np.sqrt(total)
    z, peak = mean / deviation, deviation * _bell(mean / deviation)
    ahead, behind = mean * special.ndtr(z) + peak, peak - mean * special.ndtr(-z)
    return height * ahead, height * behind, _bell(y) - y * special.ndtr(-y)


def _bell(z: float) -> float:
    return float(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def _uniform(y: float, sigma: float, dim: int) -> tuple[float, float, float]:
    """Across the drift the kernel is integrated over the middle of the cube."""
    across = (np.sqrt(2 * np.pi) * sigma * special.erf(1 / (2 * np.sqrt(2) * sigma))) ** (dim - 1)
    inside, outside = max(0.5 - y, 0.0), max(y - 0.5, 0.0)  # of the trailing face, and outside of it
    nearest, farthest, back = (np.exp(-0.5 * (d / sigma) ** 2) for d in (outside, 0.5 + y, inside))
    return across * sigma**2 * (nearest - farthest), across * sigma**2 * (1 - back), inside**2 / 2


def _on_the_line(owner: str, source: Any, direction: Any) -> Cloud:
    law, sign = line(owner, source, "source"), 1 if direction is None else direction
    if np.ndim(sign) > 0 or sign not in (1, -1):
        raise check.fail(owner, "direction", "1 or -1 for a cloud in one dimension", direction)
    trail = max(sign * (law.mean - end) for end in law.ends)

    def pulls(y: float, sigma: float) -> tuple[float, float, float]:
        code = law.mean - sign * y
        x, mass = law.points(code + 2 * sigma * np.arange(-5, 6))
        return _means(sign * (x - code), mass, np.exp(-0.5 * ((x - code) / sigma) ** 2))

    return Cloud(pulls, trail)


def _of_samples(owner: str, source: Any, direction: Any) -> Cloud:
    """Across the drift a code comes to rest where the smoothed cloud is highest: mean shift."""
    x = _samples(owner, source)
    x = x - x.mean(axis=0)
    e = np.zeros(x.shape[1]) if direction is None else np.asarray(direction, np.float64).reshape(-1)
    if direction is None:
        e[0] = 1
    if e.shape != x.shape[1:] or not np.isfinite(e).all() or not e.any():
        raise check.fail(owner, "direction", f"a vector of {x.shape[1]} finite numbers that are not all 0", direction)
    e = e / np.linalg.norm(e)
    along = x @ e
    across, share = x - along[:, None] * e, np.full(len(x), 1 / len(x))

    def pulls(y: float, sigma: float) -> tuple[float, float, float]:
        place, near = np.zeros(len(e)), -0.5 * ((along + y) / sigma) ** 2
        for _ in range(100):
            kernel = np.exp(near - 0.5 * np.sum((across - place) ** 2, axis=1) / sigma**2)
            last, place = place, kernel @ across / max(kernel.sum(), 1e-300)
            if np.max(np.abs(place - last)) <= 1e-7 * sigma:
                break
        return _means(along + y, share, kernel)

    return Cloud(pulls, -float(along.min()))


def _samples(owner: str, source: Any) -> np.ndarray:
    if isinstance(source, Source):
        support = source.support
        source = source.sample(np.random.default_rng(0), _SAMPLES) if support is None else support
    samples = check.array(owner, "source", source, "a source, a frozen distribution or an array of samples [N, D]")
    return check.matrix(owner, "source", samples[:, None] if samples.ndim == 1 else samples).astype(np.float64)


def _means(d: np.ndarray, mass: np.ndarray, kernel: np.ndarray) -> tuple[float, float, float]:
    ahead = d > 0
    pull, back = mass * kernel * np.abs(d), mass * np.abs(d)
    return float(pull[ahead].sum()), float(pull[~ahead].sum()), float(back[~ahead].sum())
