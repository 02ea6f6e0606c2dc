"""What the cells of a codebook in one dimension hold of a law: masses and pulls, as smooth functions of the codes.

The integrals F(b) = integral of f and G(b) = integral of (x - mean) f up to a border b give every cell by
differences. F is 0 below the support and 1 above it, to the bit, so that a cell that has left the support
holds exactly nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory.reference.density import Density, spread_nodes


class Line:
    """A law in one dimension, by quadrature of its density that is exact to rounding."""

    def __init__(self, owner: str, distribution: Any) -> None:
        self.density = Density(owner, distribution)
        self.mean, self.deviation = self.density.mean, self.density.deviation
        self._edges = self.density.edges
        self.ends = self._edges[0], self._edges[-1]  # of the support, or of what matters of it
        x, mass, _ = self.density.at(np.empty(0))
        panels = np.stack([mass, mass * (x - self.mean)]).reshape(2, len(self._edges) - 1, -1).sum(axis=2)
        self._below = np.concatenate([np.zeros((2, 1)), np.cumsum(panels, axis=1)], axis=1)

    def integrals(self, borders: np.ndarray) -> np.ndarray:
        """F and G at the borders, [2, borders]."""
        x = np.clip(borders, self._edges[0], self._edges[-1])
        panel = np.clip(np.searchsorted(self._edges, x, side="right") - 1, 0, len(self._edges) - 2)
        nodes, width = spread_nodes(self._edges[panel], x)
        mass = np.multiply(
            width, self.density.pdf(nodes), out=np.zeros_like(width), where=width > 0
        )  # f may be inf at an end
        return self._below[:, panel] + np.stack([mass.sum(axis=1), np.sum(mass * (nodes - self.mean), axis=1)])

    def cells(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Masses p_k and pulls p_k (m_k - u_k) of ascending codes [K]."""
        borders = np.concatenate([[-np.inf], (codes[1:] + codes[:-1]) / 2, [np.inf]])
        mass, moment = np.diff(self.integrals(borders), axis=1)
        return mass, moment - (codes - self.mean) * mass

    def points(self, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The law as weighted points, ascending, no panel of which straddles a cut."""
        low, high = self.ends
        x, mass, _ = self.density.at(cuts[(cuts > low) & (cuts < high)])
        return x, mass


class UniformLine(Line):
    """The uniform distribution, in closed form."""

    def __init__(self, owner: str, distribution: Any) -> None:
        super().__init__(owner, distribution)
        self.low, self.high = self.density.support
        self.height = 1 / (self.high - self.low)

    def integrals(self, borders: np.ndarray) -> np.ndarray:
        share = (np.clip(borders, self.low, self.high) - self.low) * self.height
        return np.stack([share, share * (share - 1) / (2 * self.height)])


def line(owner: str, density: Any, name: str = "density") -> Line:
    """The law of a frozen scipy distribution, or of a source in one dimension."""
    law = density.distribution() if hasattr(density, "distribution") else density
    if law is None:
        raise check.fail(owner, name, "a distribution in one dimension with a known density", density)
    uniform = getattr(getattr(law, "dist", None), "name", None) == "uniform"
    try:
        return (UniformLine if uniform else Line)(owner, law)
    except ValueError as error:
        raise ValueError(str(error).replace("'distribution' parameter", f"{name!r} parameter")) from None
