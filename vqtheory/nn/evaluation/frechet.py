"""The Fréchet distance, by which features of two sets of images are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory._base import check

_OWNER = "frechet_distance"
_ROUNDING = 1e-6  # of covariances computed in float32, relative to the largest entry or eigenvalue


def frechet_distance(mean1: Any, cov1: Any, mean2: Any, cov2: Any) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): the squared Fréchet distance of two Gaussians (2-Wasserstein).

    Of features of real and of reconstructed images it is the rFID (Heusel et al., arXiv 1706.08500, eq. 6; Dowson and
    Landau, J. Multivariate Analysis 12, 1982). With S = R R^T, the trace of (S1 S2)^(1/2) is the sum of the singular
    values of R1^T R2, so that covariances may be singular, as they are of fewer images than features.

    Parameters
    ----------
    mean1, mean2 : array [D]
    cov1, cov2 : array [D, D]
        Symmetric, without negative eigenvalues.

    Raises
    ------
    ValueError
        For shapes that do not match, values that are not finite, and what is no covariance.

    Examples
    --------
    >>> round(frechet_distance([0.0], [[1.0]], [3.0], [[4.0]]), 12)  # (0 - 3)^2 + (1 - 2)^2
    10.0
    """
    mean1 = _mean("mean1", mean1)
    mean2 = _mean("mean2", mean2, len(mean1))
    root1, root2 = _root("cov1", cov1, len(mean1)), _root("cov2", cov2, len(mean1))
    overlap = np.linalg.norm(root1.T @ root2, "nuc")
    distance = np.sum((mean1 - mean2) ** 2) + np.sum(root1**2) + np.sum(root2**2) - 2 * overlap
    return max(0.0, float(distance))


def _mean(name: str, values: Any, dim: int | None = None) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or array.size == 0 or dim not in (None, len(array)):
        raise check.fail(_OWNER, name, f"an array [{'D' if dim is None else dim}]", array.shape)
    return check.finite(_OWNER, name, array)


def _root(name: str, values: Any, dim: int) -> np.ndarray:
    """R of S = R R^T."""
    cov = np.asarray(values, np.float64)
    if cov.shape != (dim, dim):
        raise check.fail(_OWNER, name, f"an array {[dim, dim]}", cov.shape)
    check.finite(_OWNER, name, cov)
    if np.abs(cov - cov.T).max() > _ROUNDING * np.abs(cov).max():
        raise check.fail(_OWNER, name, "symmetric", cov)
    eigenvalues, vectors = np.linalg.eigh(cov)
    if eigenvalues[0] < -_ROUNDING * np.abs(eigenvalues).max():
        raise check.fail(_OWNER, name, "without negative eigenvalues", float(eigenvalues[0]))
    return vectors * np.sqrt(np.maximum(eigenvalues, 0))
