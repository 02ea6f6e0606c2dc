"""The optimal scalar quantizer of a density: the best codes on a grid, then Newton's method.

The equations are those of `vqtheory.reference.lloyd_max`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import linalg

from vqtheory.reference._partition import best_partition
from vqtheory.reference.density import EPSILON, Cells, Density

MOST_STEPS = 1000  # fewer than ten are needed for a smooth density, fewer than a hundred for a histogram


def best_on_grid(density: Density, num_codes: int) -> np.ndarray:
    """The best codes whose cells are unions of pieces of a grid."""
    x, mass, width = density.at(np.empty(0))
    # Half of the pieces have equal masses, half follow f^(1/3), as the codes do for large K: a heavy
    # tail holds many codes and next to no mass, and the f^(1/3) of a narrow peak is next to nothing.
    cube_root = np.cbrt(mass * width**2)
    level = np.cumsum(mass) / np.sum(mass) + np.cumsum(cube_root) / np.sum(cube_root)
    pieces = max(4096, 64 * num_codes)
    borders = np.unique(np.interp(np.linspace(0, level[-1], pieces + 1)[1:-1], level, x))
    x, mass, _ = density.at(borders)
    piece = np.searchsorted(borders, x)
    weights, moments = np.bincount(piece, mass), np.bincount(piece, mass * x)
    weights, moments = weights[weights > 0], moments[weights > 0]
    begins = best_partition(moments / weights, weights, num_codes, inward=True)
    return np.add.reduceat(moments, begins) / np.add.reduceat(weights, begins)


def settle(density: Density, codes: np.ndarray) -> tuple[np.ndarray, Cells]:
    """The centroidal codebook that Newton's method reaches from `codes` without a rise of the distortion."""
    cells, last = density.cells(codes), math.inf
    for _ in range(MOST_STEPS):
        lloyd_step = cells.pull / cells.mass
        residual = np.max(np.abs(lloyd_step) / (density.deviation + np.abs(codes)))
        if residual < 2e-16 or last / 2 < residual < 1e-12:
            return codes, cells
        last = residual
        codes, cells = _step(density, codes, cells, lloyd_step)
    raise RuntimeError(f"The codes of lloyd_max did not settle: after {MOST_STEPS} steps they still move by {last:.1e}.")


def _step(density: Density, codes: np.ndarray, cells: Cells, lloyd_step: np.ndarray) -> tuple[np.ndarray, Cells]:
    newton_step = _newton_step(density, codes, cells)
    shortened = [] if newton_step is None else [newton_step / 2**halvings for halvings in range(4)]
    # Near the optimum the distortion no longer tells: x is rounded, by eps |x|, in every (x - c)^2.
    rounding = 16 * EPSILON * (cells.distortion + np.max(np.abs(codes)) * math.sqrt(cells.distortion))
    for step in shortened:
        moved = codes + step
        if np.all(np.diff(moved) > 0):
            after = density.cells(moved)
            if np.all(after.mass > 0) and after.distortion <= cells.distortion + rounding:
                return moved, after
    return codes + lloyd_step, density.cells(codes + lloyd_step)


def _newton_step(density: Density, codes: np.ndarray, cells: Cells) -> np.ndarray | None:
    """The step to g = 0 by the tridiagonal Hessian, or None if that is not positive definite."""
    coupling = density.pdf((codes[:-1] + codes[1:]) / 2) * np.diff(codes) / 4
    diagonal = cells.mass - np.append(coupling, 0) - np.append(0, coupling)
    try:
        factor = linalg.cholesky_banded(np.stack([diagonal, np.append(-coupling, 0)]), lower=True)
    except (linalg.LinAlgError, ValueError):  # ValueError: a border on a singularity, where f is infinite
        return None
    return linalg.cho_solve_banded((factor, True), cells.pull)
