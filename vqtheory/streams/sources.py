"""Sources: laws that samples come from before they drift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory.streams.base import Source


@dataclass(frozen=True, repr=False)
class Uniform(Source):
    """Uniform on the unit cube [0, 1]^dim.

    Examples
    --------
    >>> Uniform(dim=2).mean
    array([0.5, 0.5])
    """

    dim: int

    def __post_init__(self) -> None:
        self._keep(dim=check.integer("Uniform", "dim", self.dim))

    @property
    def mean(self) -> np.ndarray:
        return np.full(self.dim, 0.5)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        return generator.random((size, self.dim))

    def density(self, x: np.ndarray) -> np.ndarray:
        return np.where(((x >= 0) & (x <= 1)).all(axis=1), 1.0, 0.0)

    def distribution(self) -> Any:
        from scipy import stats

        return stats.uniform() if self.dim == 1 else None


@dataclass(frozen=True, repr=False)
class Gaussian(Source):
    """The standard normal distribution N(0, I) in R^dim.

    Examples
    --------
    >>> Gaussian(dim=3).density(np.zeros((1, 3))) == (2 * np.pi) ** -1.5
    array([ True])
    """

    dim: int

    def __post_init__(self) -> None:
        self._keep(dim=check.integer("Gaussian", "dim", self.dim))

    @property
    def mean(self) -> np.ndarray:
        return np.zeros(self.dim)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        return generator.standard_normal((size, self.dim))

    def density(self, x: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * np.sum(x * x, axis=1)) * (2 * np.pi) ** (-self.dim / 2)

    def distribution(self) -> Any:
        from scipy import stats

        return stats.norm() if self.dim == 1 else None


@dataclass(frozen=True, repr=False)
class Ring(Source):
    """Uniform on the ring of points in the plane whose distance from 0 is within width / 2 of `radius`.

    Parameters
    ----------
    radius : float, default 1
        Distance of the middle of the ring from 0.
    width : float, default 0.1
        Outer radius minus inner radius, at most 2 `radius`, which makes the ring a disc.

    Examples
    --------
    >>> Ring(radius=1, width=0.5).density(np.array([[0.0, 0.0], [0.0, 1.2]])).round(3)
    array([0.   , 0.318])
    """

    radius: float = 1
    width: float = 0.1
    dim = 2

    def __post_init__(self) -> None:
        self._keep(radius=check.number("Ring", "radius", self.radius, 0, above=True))
        check.real("Ring", "radius", self.radius, 0, check.SQUARABLE)
        self._keep(width=check.number("Ring", "width", self.width, 0, 2 * self.radius, above=True))

    @property
    def mean(self) -> np.ndarray:
        return np.zeros(2)

    @property
    def _edges(self) -> tuple[float, float]:
        return self.radius - self.width / 2, self.radius + self.width / 2

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        area, turns = generator.random((2, size))
        inner, outer = self._edges
        distance = np.sqrt(inner**2 + (outer**2 - inner**2) * area)  # equal areas are equally likely
        return np.stack([distance * np.cos(2 * np.pi * turns), distance * np.sin(2 * np.pi * turns)], axis=1)

    def density(self, x: np.ndarray) -> np.ndarray:
        inner, outer = self._edges
        distance = np.hypot(x[:, 0], x[:, 1])
        return np.where((distance >= inner) & (distance <= outer), 1 / (np.pi * (outer**2 - inner**2)), 0.0)


@dataclass(frozen=True, repr=False)
class Mixture(Source):
    """A mixture of isotropic Gaussians of one width: sum_m w_m N(mu_m, scale^2 I).

    Parameters
    ----------
    means : array [M, D]
        mu, the means of the components.
    scale : float
        Standard deviation of each coordinate within a component.
    weights : sequence of M floats, optional
        w before they are normalised to sum to 1; equal by default.

    Examples
    --------
    >>> source = Mixture(means=[[-1.0], [2.0]], scale=0.1, weights=[2, 1])
    >>> source.mean, source
    (array([0.]), Mixture(means=[[-1.0], [2.0]], scale=0.1, weights=[2.0, 1.0]))
    """

    means: Any
    scale: float
    weights: Any = None

    def __post_init__(self) -> None:
        means = check.matrix("Mixture", "means", self.means)
        object.__setattr__(self, "means", tuple(map(tuple, means.tolist())))
        self._keep(scale=check.number("Mixture", "scale", self.scale, 0, above=True))
        if self.weights is not None:
            requirement = f"a sequence of {len(means)} numbers >= 0 that are not all 0"
            shares = check.array("Mixture", "weights", self.weights, requirement)
            if shares.shape != (len(means),):
                raise check.fail("Mixture", "weights", requirement, self.weights)
            weights = tuple(check.real("Mixture", "weights", weight, 0) for weight in self.weights)
            if not any(weights):
                raise check.fail("Mixture", "weights", requirement, self.weights)
            object.__setattr__(self, "weights", weights)

    @property
    def dim(self) -> int:
        return len(self.means[0])

    @property
    def shares(self) -> np.ndarray:
        """The weights, normalised, [M]."""
        weights = np.ones(len(self.means)) if self.weights is None else np.array(self.weights)
        return weights / weights.sum()

    @property
    def mean(self) -> np.ndarray:
        return self.shares @ np.array(self.means)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        component = generator.choice(len(self.means), size, p=self.shares)
        return np.array(self.means)[component] + self.scale * generator.standard_normal((size, self.dim))

    def density(self, x: np.ndarray) -> np.ndarray:
        offset = x[:, None] - np.array(self.means)
        heights = np.exp(-0.5 * np.sum(offset**2, axis=2) / self.scale**2)
        return heights @ self.shares / (np.sqrt(2 * np.pi) * self.scale) ** self.dim

    def distribution(self) -> Any:
        return _mixture_1d(self) if self.dim == 1 else None


@cache
def _mixture_1d(source: Mixture) -> Any:
    from scipy import special, stats

    means, shares, scale = np.array(source.means)[:, 0], source.shares, source.scale
    mean = shares @ means

    class MixtureOnTheLine(stats.rv_continuous):
        def _pdf(self, x: np.ndarray) -> np.ndarray:
            return np.exp(-0.5 * ((x[..., None] - means) / scale) ** 2) @ shares / (np.sqrt(2 * np.pi) * scale)

        def _cdf(self, x: np.ndarray) -> np.ndarray:
            return special.ndtr((x[..., None] - means) / scale) @ shares

        def _sf(self, x: np.ndarray) -> np.ndarray:
            return special.ndtr((means - x[..., None]) / scale) @ shares

        def _stats(self) -> tuple:
            return mean, scale**2 + shares @ (means - mean) ** 2, None, None

    return MixtureOnTheLine(name="mixture")()


@dataclass(frozen=True, repr=False, init=False)
class Distribution(Source):
    """A continuous distribution of `scipy.stats` in one dimension, sampled by its inverse cdf.

    Parameters
    ----------
    d : str or frozen distribution
        Its name there, ``Distribution("beta", 2, 5)``, or ``Distribution(scipy.stats.beta(2, 5))``.
    *shapes : float
        Its shape parameters, in scipy's order, if `d` is a name.
    loc, scale : float, default 0 and 1
        Shift and stretch, as in scipy, if `d` is a name.

    Raises
    ------
    ValueError
        For a name that is not known, parameters that do not fit, and laws without a finite variance,
        for which no codebook has a finite distortion.

    Examples
    --------
    >>> from scipy import stats
    >>> Distribution(stats.norm(loc=1))
    Distribution('norm', loc=1.0)
    >>> Distribution("beta", 2, 6).mean
    array([0.25])
    """

    name: str
    shapes: tuple[float, ...]
    loc: float
    scale: float
    dim = 1

    def __init__(self, d: Any, *shapes: float, loc: float = 0.0, scale: float = 1.0) -> None:
        if not isinstance(d, str):
            if shapes or loc != 0 or scale != 1:
                raise check.fail("Distribution", "d", "a name where shapes, loc or scale are given", d)
            d, shapes, loc, scale = _thawed(d)
        check.choice("Distribution", "d", d, _continuous())
        object.__setattr__(self, "name", d)
        object.__setattr__(self, "shapes", tuple(check.real("Distribution", "shapes", shape) for shape in shapes))
        object.__setattr__(self, "loc", check.real("Distribution", "loc", loc))
        object.__setattr__(self, "scale", check.real("Distribution", "scale", scale, 0, above=True))
        names = _shape_names(_continuous()[d])
        if len(names) != len(shapes):
            takes = f"takes {len(names)} shape parameters" + (f" ({', '.join(names)})" if names else "")
            raise ValueError(f"The 'shapes' of Distribution({d!r}) do not fit: {d!r} {takes}. Got {len(shapes)}.")
        with np.errstate(all="ignore"):  # what overflows has no finite variance either
            variance = self.distribution().var()
        if not (np.isfinite(variance) and variance > 0):
            raise ValueError(f"{self!r} has no finite variance, or its parameters are outside their domain.")

    def __repr__(self) -> str:
        named = [
            f"{name}={getattr(self, name)!r}" for name, usual in (("loc", 0), ("scale", 1)) if getattr(self, name) != usual
        ]
        return f"Distribution({', '.join([repr(self.name), *map(repr, self.shapes), *named])})"

    @property
    def mean(self) -> np.ndarray:
        return np.array([_mean_of(self)])

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        uniform = np.maximum(generator.random((size, 1)), 2.0**-54)  # 0 itself, once in 2^53, may map to -infinity
        return self.distribution().ppf(uniform)

    def distribution(self) -> Any:
        return _frozen(self)


@cache
def _frozen(source: Distribution) -> Any:
    return _continuous()[source.name](*source.shapes, loc=source.loc, scale=source.scale)


@cache
def _mean_of(source: Distribution) -> float:
    return float(source.distribution().mean())


@cache
def _continuous() -> dict[str, Any]:
    """The continuous distributions of scipy by name."""
    from scipy import stats

    return {name: law for name, law in vars(stats).items() if isinstance(law, stats.rv_continuous)}


def _shape_names(law: Any) -> list[str]:
    return law.shapes.replace(",", " ").split() if law.shapes else []


def _thawed(frozen: Any) -> tuple[str, tuple[float, ...], float, float]:
    """Name and parameters of a frozen distribution."""
    law = getattr(frozen, "dist", None)
    name = str(getattr(law, "name", ""))
    if law is None or type(law) is not type(_continuous().get(name)):
        raise check.fail("Distribution", "d", "a frozen continuous distribution of scipy.stats or the name of one", frozen)
    shapes = _shape_names(law)
    given = dict(zip([*shapes, "loc", "scale"], frozen.args, strict=False)) | frozen.kwds
    return name, tuple(given[shape] for shape in shapes), given.get("loc", 0.0), given.get("scale", 1.0)
