"""Integrals of a one-dimensional density over cells, to rounding.

The line is cut into panels on which Gauss-Legendre quadrature is exact to rounding, by
halving every panel on which it is not. Kinks and jumps are thereby closed in to a few
units in the last place; tails to infinity are panels that double in width. The panels
are found once per density. The borders of a codebook's cells then cut them further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vqtheory._base import check

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
EPSILON = float(np.finfo(np.float64).eps)
MOST_PANELS = 2**14
Function = Callable[[np.ndarray], np.ndarray]


class Points(NamedTuple):
    """A density as weighted points, ascending: sum of mass * g(x) is the integral of f g."""

    x: np.ndarray
    mass: np.ndarray
    width: np.ndarray  # the quadrature weight: sum of width * g(x) is the integral of g


class Cells(NamedTuple):
    """What the cells of a codebook c_1 < .. < c_K hold of a density."""

    mass: np.ndarray  # p_k [K]
    pull: np.ndarray  # integral over V_k of (x - c_k) f [K]
    distortion: float  # E |x - c_q(x)|^2


class Density:
    """The density f of a frozen distribution, with the panels that resolve it.

    Raises `ValueError` in the name of `owner` for what is not a continuous distribution
    in one dimension, for a variance that is not finite, and if f does not integrate to 1 and
    to that variance.
    """

    def __init__(self, owner: str, distribution: Any) -> None:
        self.mean, self.variance, self.support = _summary(owner, distribution)
        self.deviation = self.variance**0.5
        self.pdf, self.cdf = _quiet(distribution.pdf), _quiet(distribution.cdf)
        self.edges = refine(self.pdf, self._first_edges(), self.cdf)
        self._check_total(owner)

    def at(self, borders: np.ndarray) -> Points:
        """The density as points, on panels none of which straddles a border."""
        edges = np.union1d(self.edges, borders)
        left, right = edges[:-1], edges[1:]
        x, width = spread_nodes(left, right)
        mass = width * self.pdf(x)
        # A panel too narrow to be halved may hold a jump or a singularity. Its nodes cannot tell, but
        # the cdf says what it weighs, and where in it that weight sits makes no difference.
        narrow = is_narrow(left, right)
        if narrow.any():
            mass[narrow] = (self.cdf(right[narrow]) - self.cdf(left[narrow]))[:, None] * (WEIGHTS / 2)
        return Points(x.ravel(), mass.ravel(), width.ravel())

    def cells(self, codes: np.ndarray) -> Cells:
        """Masses, pulls and distortion of ascending codes [K]."""
        borders = (codes[:-1] + codes[1:]) / 2
        x, mass, _ = self.at(borders)
        cell = np.searchsorted(borders, x)
        offset = x - codes[cell]
        return Cells(
            np.bincount(cell, mass, len(codes)), np.bincount(cell, mass * offset, len(codes)), float(mass @ offset**2)
        )

    def _first_edges(self) -> np.ndarray:
        """Panels that double in width away from the mean, to the ends of the support or of the tails."""
        reach = self.deviation * 2.0 ** np.arange(-3, 301)
        edges = np.unique(np.clip(np.concatenate([self.mean - reach, [self.mean], self.mean + reach]), *self.support))
        z, below = np.abs(edges - self.mean) / self.deviation, self.cdf(edges)
        # z^3 f bounds what the rest of a tail adds to the variance and, by its cube root, to the integral of f^(1/3).
        matters = (z**3 * self.pdf(edges) * self.deviation > 1e-45) | (np.minimum(below, 1 - below) > EPSILON)
        kept = np.flatnonzero(matters | (edges == self.mean))
        return edges[max(kept[0] - 1, 0) : kept[-1] + 2]

    def _check_total(self, owner: str) -> None:
        x, mass, _ = self.at(np.empty(0))
        total, variance = mass.sum(), mass @ (x - self.mean) ** 2
        if not (abs(total - 1) < 1e-6 and abs(variance / self.variance - 1) < 1e-6):
            raise ValueError(
                f"The 'distribution' parameter of {owner} must have a density that integrates to 1 and to the variance "
                f"{self.variance:.9g}. Got {total:.9g} and {variance:.9g}: pdf, cdf and variance contradict one another, "
                "the tail is too heavy, or the mean is too far from 0 for floating point to resolve the density around it."
            )


def refine(function: Function, edges: np.ndarray, integral: Function | None = None) -> np.ndarray:
    """Edges of panels on each of which quadrature of `function` >= 0 is exact to rounding.

    Starts from the panels between `edges`. A given `integral` of the function is asked
    too: it knows of peaks that fall between the nodes.
    """
    left, right = edges[:-1], edges[1:]
    x, width = spread_nodes(left, right)
    floor = 1e-20 * float(np.sum(width * function(x)))
    while len(left) and len(edges) < MOST_PANELS:
        wide = ~is_narrow(left, right)
        left, right = left[wide], right[wide]
        rough = ~_is_resolved(function, left, right, floor, integral)
        left, right = left[rough], right[rough]
        cut = _cut(left, right)
        edges = np.concatenate([edges, cut])
        left, right = np.concatenate([left, cut]), np.concatenate([cut, right])
    return np.sort(edges)


def spread_nodes(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nodes on each panel and their quadrature weights, along a new last axis."""
    half = (right - left)[..., None] / 2
    return (left + right)[..., None] / 2 + half * NODES, half * WEIGHTS


def is_narrow(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether a panel is so narrow that its outer nodes come close to being rounded to its ends."""
    return right - left <= 1024 * EPSILON * np.maximum(np.abs(left), np.abs(right))


def _is_resolved(
    function: Function, left: np.ndarray, right: np.ndarray, floor: float, integral: Function | None
) -> np.ndarray:
    """Whether quadrature on a panel agrees with the sum of its parts, and with the integral."""
    cut = _cut(left, right)
    x, width = spread_nodes(left, right)
    x_parts, width_parts = spread_nodes(np.stack([left, cut], 1), np.stack([cut, right], 1))
    values = function(x)
    total = np.sum(width_parts * function(x_parts), axis=(1, 2))
    # A function is known at rounded x only; where |x| is large against the panel that is the error to expect.
    rounding = EPSILON * np.maximum(np.abs(left), np.abs(right)) * np.abs(np.diff(values)).sum(axis=1)
    resolved = np.abs(np.sum(width * values, axis=1) - total) <= 1e-14 * total + 4 * rounding + floor
    return resolved if integral is None else resolved & (np.abs(integral(right) - integral(left) - total) <= 1e-9)


def _cut(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where a panel is halved: off its middle, since about the middle errors cancel by symmetry."""
    return left + 0.45 * (right - left)


def _summary(owner: str, distribution: Any) -> tuple[float, float, tuple[float, float]]:
    """Mean, variance and support, where they are those of a continuous distribution in one dimension."""
    try:
        distribution.pdf, distribution.cdf  # noqa: B018
        variance = getattr(distribution, "var", None) or distribution.variance
        mean, spread, (low, high) = float(distribution.mean()), float(variance()), distribution.support()
    except (AttributeError, TypeError):
        requirement = "a frozen continuous distribution of one number, such as scipy.stats.norm()"
        raise check.fail(owner, "distribution", requirement, distribution) from None
    if not (0 < spread < np.inf and np.isfinite(mean)):
        raise ValueError(
            f"The 'distribution' parameter of {owner} must have a finite mean and a finite variance > 0. "
            f"Got mean {mean:g} and variance {spread:g}."
        )
    return mean, spread, (float(low), float(high))


def _quiet(function: Function) -> Function:
    """Far out a density overflows and at a singularity it divides by zero; both come out right in IEEE arithmetic."""

    def evaluate(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(function(x) if x.size else x, np.float64)  # scipy refuses an empty array

    return evaluate
