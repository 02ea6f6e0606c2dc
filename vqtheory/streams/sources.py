"""Sources: laws that samples come from before they drift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from vqtheory import _check
from vqtheory._config import Configured


class Source(Configured):
    """A law on R^dim. `sample` is all that a stream needs; the rest is told where it is known."""

    dim: int

    @property
    def mean(self) -> np.ndarray:
        """The mean, [D]: the point about which the cloud grows and turns."""
        raise NotImplementedError

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        """Samples [size, D], float64."""
        raise NotImplementedError

    @property
    def support(self) -> np.ndarray | None:
        """All values [N, D] that a sample can take, if they are finitely many and at hand."""
        return None

    def density(self, x: np.ndarray) -> np.ndarray | None:
        """The density at x [N, D], if there is one in closed form."""
        distribution = self.distribution()
        return None if distribution is None else distribution.pdf(x[:, 0])

    def distribution(self) -> Any:
        """The law as a frozen scipy distribution, in 1-D where it is known."""
        return None

    def optimum(self, num_codes: int) -> float | None:
        """The least distortion of `num_codes` codes, where `distribution` is known."""
        return None if self.distribution() is None else _optimum(self, num_codes)


@cache
def _optimum(source: Source, num_codes: int) -> float:
    from vqtheory.reference import lloyd_max

    return lloyd_max(source.distribution(), num_codes).distortion


@dataclass(frozen=True, repr=False)
class Uniform(Source):
    """Uniform on the unit cube [0, 1]^dim.

    >>> Uniform(dim=2).mean
    array([0.5, 0.5])
    """

    dim: int

    def __post_init__(self) -> None:
        _check.integer("Uniform", "dim", self.dim)

    @property
    def mean(self) -> np.ndarray:
        return np.full(self.dim, 0.5)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        return generator.random((size, self.dim))

    def density(self, x: np.ndarray) -> np.ndarray:
        return ((x >= 0) & (x <= 1)).all(axis=1).astype(np.float64)

    def distribution(self) -> Any:
        from scipy import stats

        return stats.uniform() if self.dim == 1 else None


@dataclass(frozen=True, repr=False)
class Gaussian(Source):
    """The standard normal law N(0, I) in R^dim.

    >>> Gaussian(dim=3).density(np.zeros((1, 3))) == (2 * np.pi) ** -1.5
    array([ True])
    """

    dim: int

    def __post_init__(self) -> None:
        _check.integer("Gaussian", "dim", self.dim)

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
