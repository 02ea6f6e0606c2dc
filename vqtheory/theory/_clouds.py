"""A cloud of latents as points that carry its integrals: of a density in one dimension, a source, or latents themselves.

The point density of a codebook of many codes is proportional to f^(D/(D+2)) (Zador), so that every law of many codes is
an integral over that measure. Points carry it as weights:

==========  ================================================================================================
density     in one dimension, the nodes of quadrature panels on which the density is exact to rounding
source      in D dimensions, Sobol points of a box or of a Gaussian, whichever is nearer to f^(D/(D+2))
latents     themselves: the distance r to the k-th of n neighbours estimates f^(-s), s = 2/(D+2), without bias
            where f is constant within r, by (n V_D r^D)^s Gamma(k)/Gamma(k+s) (Leonenko, Pronzato and Savani 2008)
==========  ================================================================================================

The gradient of ln f is a central difference or, of latents, (D+2)/r^2 times the mean of the neighbours within r, less the
point (the mean shift of Fukunaga and Hostetler 1975).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import special
from scipy.spatial import cKDTree
from scipy.stats import qmc

from vqtheory._base import check
from vqtheory.reference.density import Density
from vqtheory.streams.base import Source

POINTS = 2**15
_PILOT = 4096  # samples that show where a source is
_NEIGHBOURS, _FOR_SLOPES = 8, 32
_TOTAL = 0.02  # how far an integral of f by points may be from 1, in a few dimensions


class Cloud(NamedTuple):
    """Points of a cloud, from its mean."""

    position: np.ndarray  # [n, D]
    density: np.ndarray  # f, [n]
    slope: np.ndarray  # the gradient of ln f, [n, D]
    measure: np.ndarray  # weights: their sum over g is the integral of g f^(D/(D+2)), [n]
    covariance: np.ndarray  # [D, D]
    at: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None  # f and its slope anywhere, where known

    @property
    def dim(self) -> int:
        """D."""
        return self.position.shape[1]


def of_density(owner: str, distribution: Any) -> Cloud:
    """A frozen distribution of scipy in one dimension."""
    density = Density(owner, distribution)
    x, mass, width = density.at(np.linspace(density.edges[0], density.edges[-1], 1025)[1:-1])
    mean, variance = density.mean, density.variance

    def pdf(u: np.ndarray) -> np.ndarray:
        return density.pdf(u[:, 0] + mean)

    def at(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return pdf(u), _slope(pdf, u, np.array([density.deviation]))

    u, f = x[:, None] - mean, mass / width
    return Cloud(u, f, at(u)[1], width * np.cbrt(f), np.array([[variance]]), at)


def of_source(owner: str, source: Source, points: int = POINTS, seed: int = 0) -> Cloud:
    """A source in any dimension whose density is known; in one dimension by quadrature."""
    if source.distribution() is not None:
        return of_density(owner, source.distribution())
    random = np.random.default_rng(seed)
    pilot = source.sample(random, _PILOT)
    mean, power = np.asarray(source.mean, float), source.dim / (source.dim + 2)

    def pdf(u: np.ndarray) -> np.ndarray:
        f = source.density(u + mean)
        if f is None:
            raise check.fail(owner, "cloud", "a source whose density is known, or latents [N, D] sampled from it", source)
        return f

    grid = qmc.Sobol(source.dim, rng=random).random(points)
    candidates = [
        _weighted(pdf, u, volume, power) for u, volume in (_box(pilot - mean, grid), _normal(pilot - mean, grid, power))
    ]
    u, f, volume, measure = max(candidates, key=lambda candidate: _effective(candidate[3]))
    if abs(f @ volume - 1) > _TOTAL:
        requirement = "a source whose density integrates to 1, and where its samples are"
        raise check.fail(owner, "cloud", requirement, f"{source!r}, whose density integrates to {f @ volume:.4g}")
    covariance = np.atleast_2d(np.cov(u.T, aweights=f * volume))
    scale = np.sqrt(np.diag(covariance))

    def at(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return pdf(u), _slope(pdf, u, scale)

    return Cloud(u, f, _slope(pdf, u, scale), measure, covariance, at)


def of_latents(latents: np.ndarray) -> Cloud:
    """Latents [n, D] from their mean, in the few dimensions that they are given in."""
    number, dim = latents.shape
    near, far = min(_NEIGHBOURS, number - 1), min(_FOR_SLOPES, number - 1)
    distance, neighbour = cKDTree(latents).query(latents, k=far + 1, workers=-1)
    floor = np.finfo(float).tiny ** (1 / (2 * dim))
    volume = (number - 1) * ball_volume(dim) * np.maximum(distance[:, near], floor) ** dim
    power = 2 / (dim + 2)
    bias = math.exp(math.lgamma(near) - math.lgamma(near + power))
    shift = latents[neighbour[:, 1:]].mean(axis=1) - latents
    slope = (dim + 2) / np.maximum(distance[:, -1:], floor) ** 2 * shift
    covariance = np.atleast_2d(np.cov(latents.T))
    return Cloud(latents, near / volume, slope, volume**power * bias / number, covariance)


def _slope(pdf: Callable[[np.ndarray], np.ndarray], u: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The gradient of ln f; 0 across a jump."""
    steps = 1e-4 * np.diag(scale)
    with np.errstate(all="ignore"):
        columns = [(np.log(pdf(u + step)) - np.log(pdf(u - step))) / (2 * step.sum()) for step in steps]
    slope = np.stack(columns, axis=1)
    return np.where(np.isfinite(slope), slope, 0.0)


def _box(pilot: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of a box about all samples, and the volume of each."""
    low, high = pilot.min(axis=0), pilot.max(axis=0)
    margin = (high - low) / 1000
    sides = high - low + 2 * margin
    return low - margin + grid * sides, np.full(len(grid), np.prod(sides) / len(grid))


def _normal(pilot: np.ndarray, grid: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of the Gaussian whose f^(D/(D+2)) is that of the samples' mean and covariance, and the volume of each."""
    root = np.linalg.cholesky(np.atleast_2d(np.cov(pilot.T)) / power)
    z = special.ndtri(np.clip(grid, 1e-12, 1 - 1e-12))
    log_density = -0.5 * np.sum(z**2, axis=1) - np.sum(np.log(np.diag(root))) - len(root) / 2 * math.log(2 * math.pi)
    return pilot.mean(axis=0) + z @ root.T, np.exp(-log_density) / len(grid)


def _weighted(pdf: Callable[[np.ndarray], np.ndarray], u: np.ndarray, volume: np.ndarray, power: float) -> tuple:
    """The points inside the support: u, f, volume and measure."""
    f = pdf(u)
    inside = f > 0
    return u[inside], f[inside], volume[inside], f[inside] ** power * volume[inside]


def _effective(measure: np.ndarray) -> float:
    """As many points of one weight would do as well (Kish)."""
    return float(measure.sum() ** 2 / (measure @ measure))


def ball_volume(dim: int) -> float:
    """V_D, of the unit ball."""
    return math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
