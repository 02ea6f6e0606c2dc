"""What the least distortion tends to for many codes: Panter-Dite, Zador, and the moments of cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory.reference.density import Density, refine, spread_nodes


def panter_dite(distribution: Any, num_codes: int) -> float:
    """The least distortion in one dimension as K -> infinity (Panter and Dite 1951).

        (1/12) (integral of f^(1/3))^3 K^-2

    Parameters
    ----------
    distribution : frozen continuous distribution of scipy.stats
        As for `lloyd_max`.
    num_codes : int
        K >= 1.

    Raises
    ------
    ValueError
        As `lloyd_max`, and for a tail near |x|^-3, whose integral is not reached in floating point.

    Examples
    --------
    >>> from scipy import stats
    >>> round(panter_dite(stats.norm(), 1), 6), round(3**0.5 * np.pi / 2, 6)
    (2.720699, 2.720699)
    """
    num_codes = check.integer("panter_dite", "num_codes", num_codes)
    density = Density("panter_dite", distribution)
    edges = refine(lambda x: np.cbrt(density.pdf(x)), density.edges)
    x, width = spread_nodes(edges[:-1], edges[1:])
    total = float(np.sum(width * np.cbrt(density.pdf(x))))
    ends = edges[[0, -1]]
    beyond = np.where(np.isinf(density.support), np.cbrt(density.pdf(ends)) * np.abs(ends - density.mean), 0)
    if np.max(beyond) > 1e-9 * total:
        raise ValueError(
            "The 'distribution' parameter of panter_dite must have a tail whose integral of f^(1/3) converges within "
            f"floating point. Got {total:.3g} up to {np.max(np.abs(ends)):.1g}, and rising."
        )
    return total**3 / (12 * num_codes**2)


def zador(density_norm: float, num_codes: int, dim: int, moment: float | None = None) -> float:
    """The least distortion in D dimensions as K -> infinity (Zador 1982, Gersho 1979).

        D G_D ||f||_(D/(D+2)) K^(-2/D),     ||f||_a = (integral of f^a)^(1/a)

    For D = 1 this is `panter_dite`. Where cells are near-isotropic but not optimal, their
    own second moment in place of G_D gives their distortion.

    Parameters
    ----------
    density_norm : float
        ||f||_(D/(D+2)), in units of length^2: 1 for the unit cube, `gaussian_norm` for a normal distribution.
    num_codes : int
        K >= 1.
    dim : int
        D >= 1.
    moment : float, optional
        G_D; `cell_moment(dim)` by default.

    Raises
    ------
    ValueError
        For numbers that are not positive and finite.

    Examples
    --------
    >>> round(12 * zador(1.0, num_codes=10, dim=1), 12)
    0.01
    """
    density_norm = check.real("zador", "density_norm", density_norm, 0, above=True)
    num_codes, dim = check.integer("zador", "num_codes", num_codes), check.integer("zador", "dim", dim)
    moment = cell_moment(dim) if moment is None else check.real("zador", "moment", moment, 0, above=True)
    return dim * moment * density_norm * num_codes ** (-2 / dim)


def gaussian_norm(dim: int, scale: float = 1.0) -> float:
    """||f||_(D/(D+2)) of the normal distribution N(0, scale^2 I) in D dimensions.

        2 pi scale^2 ((D+2)/D)^((D+2)/2)

    Examples
    --------
    >>> round(zador(gaussian_norm(1), num_codes=1, dim=1), 6)
    2.720699
    """
    dim = check.integer("gaussian_norm", "dim", dim)
    scale = check.real("gaussian_norm", "scale", scale, 0, above=True)
    scale = check.real("gaussian_norm", "scale", scale, 0, check.SQUARABLE)
    return 2 * math.pi * scale**2 * ((dim + 2) / dim) ** ((dim + 2) / 2)


def cell_moment(dim: int) -> float:
    """G_D, the second moment per dimension of the best cell, for unit volume.

    Exact for D = 1 (1/12) and D = 2 (hexagons, 5/(36 sqrt 3); Fejes Toth 1959). D = 3 is the
    body-centred cubic lattice, 19/(192 2^(1/3)), the best lattice (Barnes and Sloane 1983).
    Beyond that G_D is not known, and this is the lower of `cell_moment_bounds`; the best
    known lattices lie 2 % above it (0.076603 for D = 4, 0.071682 for D = 8).

    Examples
    --------
    >>> [round(cell_moment(dim), 5) for dim in (1, 2, 3, 4)]
    [0.08333, 0.08019, 0.07854, 0.07503]
    """
    dim = check.integer("cell_moment", "dim", dim)
    known = {1: 1 / 12, 2: 5 / (36 * math.sqrt(3)), 3: 19 / (192 * 2 ** (1 / 3))}
    return known.get(dim) or cell_moment_bounds(dim)[0]


def cell_moment_bounds(dim: int) -> tuple[float, float]:
    """Zador's bounds on G_D: the moment of a ball, and that of random codes.

        Gamma(D/2+1)^(2/D) / ((D+2) pi)  <=  G_D  <=  Gamma(D/2+1)^(2/D) Gamma(1+2/D) / (D pi)

    Both tend to 1/(2 pi e) as D -> infinity.

    Examples
    --------
    >>> [round(bound, 5) for bound in cell_moment_bounds(8)]
    [0.07045, 0.07982]
    """
    dim = check.integer("cell_moment_bounds", "dim", dim)
    ball = math.exp(2 / dim * math.lgamma(dim / 2 + 1)) / math.pi
    return ball / (dim + 2), ball * math.gamma(1 + 2 / dim) / dim
