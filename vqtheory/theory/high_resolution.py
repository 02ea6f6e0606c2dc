"""The collapse law for many codes, as an integral over the density.

Where the spacing h of the codes varies slowly, p_k (m_k - u_k) = d(f h^3)/dx / 12 to leading order, so that
in a steady drift of lag a = v / eta

    f h^3 = 12 a (x - x0),     K(a) = integral of 1/h = (12 a)^(-1/3) integral of f^(1/3) (x - x0)^(-1/3) dx

with x0 the trailing edge. It is the number of codes that can live, as a real number. At a trailing edge the
codes are few and their spacing varies fast, which moves the edge:

===============================  ========================================================
f ~ A (x - x0)^p at an end       x0 itself for p <= 1; x0 + c_p (a/A)^(1/(p+2)) for p > 1,
of the support                   with c_2 = 0.363, c_3 = 0.604, c_4 = 0.760
exponential or Gaussian tail     x_e with f(x_e) = 0.0250 a (d ln f/dx)^2: `tail_edges`
support with gaps                every piece has its own edge; the integrals add up
===============================  ========================================================

c_p and 0.0250 follow from the exact steady states of x^p and e^x, which tend to f h^3 = 12 a (x - x0): the
edge is the largest x0 that they can have. Beside the exact law, for K = 8 to 256, K(a) is off by less than
half a code for a density between two ends, and too large by up to one code for every piece with a tail or
behind a gap. Derived for this package.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from scipy import optimize

from vqtheory._base import check
from vqtheory.reference.density import Density, is_narrow, refine, spread_nodes
from vqtheory.theory._arguments import closed_form, plain, reals
from vqtheory.theory._conditions import law_of
from vqtheory.theory._relaxed import OnTheLine

TAIL = 0.02504  # f(x_e) / (a lambda^2) for f = e^(lambda x)
_LEAST = 5e-324  # float above 0
_STEEPEST = 8  # a density that vanishes with a higher power is taken for a tail


@closed_form
def high_resolution_codes(lag: Any, *, density: Any = None, direction: int = 1, edge: Any = None) -> Any:
    """How many codes a slow drift leaves alive, as a real number: K(a), asymptotic for small a.

    Parameters
    ----------
    lag : float or array
        a = v / eta > 0, a length.
    density : frozen continuous distribution of scipy.stats or source in one dimension, optional
        Uniform on [0, 1] by default, for which K(a) = (9/(32 a))^(1/3).
    direction : {1, -1}, default 1
        Which way it drifts: the trailing end is the lower one for 1, the upper one for -1.
    edge : float, sequence of floats or "tail", optional
        Where the cloud ends behind; "tail" is `tail_edges`. By default the trailing end of every piece of the
        support, corrected for a power p > 1. A single edge is that of the hindmost piece. Several divide the
        line: each counts up to the next.

    Raises
    ------
    ValueError
        For parameters out of range, and without `edge` for a cloud that has no edge behind, or whose density
        vanishes there faster than the 8th power.

    Examples
    --------
    >>> from scipy import stats
    >>> round(high_resolution_codes(1e-6), 2), round(high_resolution_codes(1e-6, density=stats.norm(), edge="tail"), 2)
    (65.52, 83.44)
    """
    owner = "high_resolution_codes"
    lag = reals(owner, "lag", lag, 0, above=True)
    law = law_of(owner, 1, density, direction)
    if isinstance(edge, str):
        check.choice(owner, "edge", edge, ["tail"])
    if density is None and edge is None:
        return plain(np.cbrt(9 / (32 * lag)))
    if density is None:
        raise check.fail(owner, "edge", "None where no density is given: the uniform distribution has its own", edge)
    if edge is None and np.isinf(law.density.support[0]):
        raise ValueError(_no_edge("a cloud with no end behind"))
    given = None if edge is None or isinstance(edge, str) else np.atleast_1d(reals(owner, "edge", edge))
    if given is not None and (given.size == 0 or given.ndim > 1):
        raise check.fail(owner, "edge", "a number, several, or 'tail'", edge)
    pieces = _pieces(law.density)
    counts = []
    for each in lag.ravel().tolist():
        at = _tail_edges(law, each) if isinstance(edge, str) else None if given is None else _ahead(law, given)
        counts.append(sum(_count(law.density, each, *part) for part in _parts(law.density, pieces, each, at)))
    return plain(np.reshape(counts, lag.shape))


@closed_form
def tail_edges(lag: float, *, density: Any, direction: int = 1) -> np.ndarray:
    """Where a cloud with tails ends behind for a drift of lag a: all x_e with f(x_e) = 0.0250 a (d ln f/dx)^2.

    Behind x_e too few samples fall for a code to keep up. There is one for each rise of the density out of next to
    nothing. Asymptotic for small a, and for tails that fall like a Gaussian or an exponential: one that falls like
    a power is not recognized, and the formula is wrong for it.

    Parameters
    ----------
    lag : float
        a = v / eta > 0, a length.
    density, direction
        As for `high_resolution_codes`.

    Returns
    -------
    float [edges]
        From the hindmost on.

    Raises
    ------
    ValueError
        For parameters out of range, and if there is no such x_e.

    Examples
    --------
    >>> from scipy import stats
    >>> tail_edges(1e-6, density=stats.norm()).round(3)
    array([-5.158])
    """
    owner = "tail_edges"
    lag = check.real(owner, "lag", lag, 0, above=True)
    if density is None:
        raise check.fail(owner, "density", "a density in one dimension", density)
    law = law_of(owner, 1, density, direction)
    return law.seen.origin + law.seen.direction * _tail_edges(law, lag)


def _tail_edges(law: OnTheLine, lag: float) -> np.ndarray:
    x, width = (values.ravel() for values in spread_nodes(law.density.edges[:-1], law.density.edges[1:]))
    near = 1e-3 * width

    def excess(x: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln f - ln(0.0250 a slope^2), and the slope of ln f."""
        with np.errstate(divide="ignore", invalid="ignore"):
            behind, here, ahead = (np.log(law.density.pdf(x + shift)) for shift in (-near, 0, near))
            slope = (ahead - behind) / (2 * near)
            return here - math.log(TAIL * lag or _LEAST) - 2 * np.log(np.abs(slope)), slope

    above, slope = excess(x, near)
    rises = np.flatnonzero((above[:-1] < 0) & (above[1:] >= 0) & (slope[:-1] > 0) & (slope[1:] > 0))
    found = [optimize.brentq(lambda at, i=i: excess(np.array([at]), near[i : i + 1])[0][0], x[i], x[i + 1]) for i in rises]
    if not found:
        raise ValueError(
            "The 'density' parameter of tail_edges must have a tail behind, in which f = 0.0250 a (d ln f/dx)^2 "
            f"somewhere. Got none for the lag {lag:g}: the lag is too large, or the cloud ends without a tail."
        )
    return np.array(found)


def _no_edge(got: str) -> str:
    return (
        "The 'edge' parameter of high_resolution_codes must be given where the density has no trailing edge of its own: "
        "pass edge='tail' for a tail like a Gaussian or an exponential, or the point behind which no samples count, "
        f"or use surviving_codes, which needs no edge. Got {got}."
    )


def _ahead(law: OnTheLine, x: np.ndarray) -> np.ndarray:
    return np.sort(law.seen.direction * (x - law.seen.origin))


def _pieces(density: Density) -> np.ndarray:
    """Ends of the pieces of the support, [pieces, 2]; a panel on which the density vanishes is a gap."""
    left, right = density.edges[:-1], density.edges[1:]
    empty = ~np.any(density.pdf(spread_nodes(left, right)[0]), axis=1) & ~is_narrow(left, right)
    gaps = np.stack([left[empty], right[empty]], axis=1).ravel()
    pieces = np.concatenate([density.edges[:1], gaps, density.edges[-1:]]).reshape(-1, 2)
    return pieces[np.diff(pieces, axis=1)[:, 0] > 1e-9 * density.deviation]


def _parts(density: Density, pieces: np.ndarray, lag: float, edges: np.ndarray | None) -> list[tuple[float, float]]:
    """Trailing edge and end of every part of the cloud."""
    if edges is not None and len(edges) > 1:
        return list(zip(edges, [*edges[1:], density.edges[-1]], strict=True))
    own = [_corrected(density, low, high, lag) for low, high in pieces[edges is not None :]]
    return list(zip([*([] if edges is None else edges), *own], pieces[:, 1], strict=True))


def _corrected(density: Density, low: float, high: float, lag: float) -> float:
    """x0 + c_p (a/A)^(1/(p+2)) where f ~ A (x - x0)^p with p > 1, and x0 otherwise."""
    near = 1e-5 * (high - low)
    first, second = density.pdf(low + near * np.array([1.0, 2.0]))
    power = math.log2(second / first) if first > 0 else math.inf
    if power > _STEEPEST:
        raise ValueError(_no_edge("one whose density vanishes there faster than any power, or nearly so"))
    if power <= 1:
        return low
    return low + edge_shift(round(power, 3)) * (lag * near**power / first) ** (1 / (power + 2))


@cache
def edge_shift(power: float) -> float:
    """c_p: the largest x0 of all steady states of f = x^p at a = 1, where f h^3 / 12 has become x - x0."""
    found = optimize.minimize_scalar(lambda u: -_shift(power, u), bounds=(0.5, 3), method="bounded")
    return -float(found.fun)


def _shift(power: float, code: float, num_codes: int = 40) -> float:
    """x0 by the border of the last of many codes, the first of them being given."""

    def moment(x: float, code: float) -> float:
        return x ** (power + 2) / (power + 2) - code * x ** (power + 1) / (power + 1)

    border, ahead = 0.0, code
    for _ in range(num_codes):
        code, below = ahead, moment(border, ahead)
        border = optimize.brentq(lambda x, c=code, m=below: moment(x, c) - m - 1, max(code, border), code + 10)
        ahead = 2 * border - code
    return border - border**power * (ahead - code) ** 3 / 12


def _count(density: Density, lag: float, edge: float, end: float) -> float:
    """The integral from the trailing edge, by s = (x - x0)^(2/3), which takes the singularity away."""
    if end <= edge:
        return 0.0
    inside = density.edges[(density.edges > edge) & (density.edges < end)]

    def integrand(s: np.ndarray) -> np.ndarray:
        f = density.pdf(edge + s**1.5)
        return 1.5 * np.cbrt(np.where(np.isfinite(f), f, 0.0))  # a node that rounds to a singular end

    panels = refine(integrand, (np.concatenate([[edge], inside, [end]]) - edge) ** (2 / 3))
    s, width = spread_nodes(panels[:-1], panels[1:])
    return float(np.sum(width * integrand(s))) / math.cbrt(12 * lag)
