"""How far NSVQ's kernel holds the codes from being centroids, on a stationary encoder.

At a fixed point every code is in balance: what its own cell lacks, the kernel's pull from outside supplies,

    p_j (m_j - c_j) = -E[w_j(x) (x - c_j), x outside of cell j].

gaussian   The cell holds the ball of radius r_j (half the distance to the nearest code), so that
               |p_j (m_j - c_j)| <= kappa sup over d >= r_j of d exp(-d^2 / 2 sigma^2)     in any dimension.
           In one dimension, with f constant over the reach of the kernel, the pulls from both sides of an inner code cancel,
           and the code at the edge of a uniform distribution has kappa f sigma^2 e^(-r^2 / 2 sigma^2): smaller than any
           power of sigma.
softmax    A border between cells of gap h has weights kappa K / (1 + e^(2 h s / tau)) at s beyond it, which pull
               (h / 2) f int min(1, kappa K / (1 + e^(2 h s / tau))) ds = (tau / 4) f L(kappa K),
               L(q) = q ln 2 for q <= 2 (K <= 200 at kappa = 0.01), ln(q - 1) + q ln(q / (q - 1)) beyond.
           It is linear in tau, and on an inner code of a uniform distribution the two borders cancel.

Both go to 0 with the bandwidth: that is NSVQ's convergence to k-means. The codes themselves are displaced by the inverse
of the k-means Hessian times these pulls; `vqtheory.theory.fixed_point` finds them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory.theory._arguments import closed_form, integers, plain, reals


@closed_form
def bias_bound(bandwidth: Any, radius: Any, strength: Any = 0.5) -> Any:
    """An upper bound of |p_j (m_j - c_j)| at any fixed point of NSVQ's gaussian form.

        kappa r e^(-r^2 / 2 sigma^2) for r >= sigma, kappa sigma e^(-1/2) for r < sigma

    Exact, for every law in every dimension, at fixed sigma.

    Parameters
    ----------
    bandwidth : float or array
        sigma > 0, a length.
    radius : float or array
        r_j >= 0, the in-radius of the cell about its code: half the distance to the nearest other code.
    strength : float or array, default 0.5
        kappa.

    Returns
    -------
    float or array
        A length; broadcast.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> [round(bias_bound(bandwidth, radius=0.1), 15) for bandwidth in (0.1, 0.05, 0.025)]
    [0.030326532985632, 0.006766764161831, 1.6773131395e-05]
    """
    sigma, kappa = _positive("bias_bound", "bandwidth", bandwidth), reals("bias_bound", "strength", strength, 0)
    farthest = np.maximum(reals("bias_bound", "radius", radius, 0), sigma)
    return plain(kappa * farthest * np.exp(-0.5 * (farthest / sigma) ** 2))


@closed_form
def edge_bias(bandwidth: Any, radius: Any, strength: Any = 0.5, density: Any = 1.0, reach: Any = np.inf) -> Any:
    """p_j (m_j - c_j) of the outermost code of a uniform distribution in one dimension, gaussian form.

        kappa f sigma^2 (e^(-r^2 / 2 sigma^2) - e^(-R^2 / 2 sigma^2))

    Exact at the fixed point, with its own r and R. To first order in the bias r is that of the k-means solution, 1 / 2K
    of the width.

    Parameters
    ----------
    bandwidth : float or array
        sigma > 0.
    radius : float or array
        r, the distance from the code to its border with the next.
    strength : float or array, default 0.5
        kappa.
    density : float or array, default 1
        f, one over the width of the law.
    reach : float or array, default infinite
        R, the distance from the code to the far end of the law.

    Returns
    -------
    float or array
        A length, away from the border; broadcast.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> from scipy import stats
    >>> from vqtheory.rules import NSVQ
    >>> from vqtheory.theory import fixed_point
    >>> low, high = fixed_point(NSVQ(bandwidth=0.1), stats.uniform(), [0.25, 0.75])
    >>> round(0.5 * float(low - 0.25), 12), round(edge_bias(0.1, 0.5 - low, reach=1 - low), 12)
    (0.000222136071, 0.000222136071)
    """
    sigma, kappa = _positive("edge_bias", "bandwidth", bandwidth), reals("edge_bias", "strength", strength, 0)
    near, height = reals("edge_bias", "radius", radius, 0), reals("edge_bias", "density", density, 0)
    far = (
        np.inf
        if isinstance(reach, (float, np.ndarray)) and np.all(reach == np.inf)
        else reals("edge_bias", "reach", reach, 0)
    )
    return plain(kappa * height * sigma**2 * (np.exp(-0.5 * (near / sigma) ** 2) - np.exp(-0.5 * (far / sigma) ** 2)))


@closed_form
def softmax_bias(bandwidth: Any, num_codes: Any, strength: Any = 0.01, density: Any = 1.0) -> Any:
    """The pull across one border between two cells in one dimension, NSVQ's softmax form.

        (tau / 4) f L(kappa K),     L(q) = q ln 2 for q <= 2, ln(q - 1) + q ln(q / (q - 1)) for q > 2

    Asymptotic for tau -> 0; the next term is pi^2 / (12 ln 2) tau / h^2 of it for q <= 2, h the gap between the codes.
    A code's p_j (m_j - c_j) is the pull of its lower border less that of its upper one; the outermost code has one only.

    Parameters
    ----------
    bandwidth : float or array
        sqrt(tau) > 0, a length, as in `vqtheory.rules.NSVQ`.
    num_codes : int or array of int
        K >= 2.
    strength : float or array, default 0.01
        kappa.
    density : float or array, default 1
        f at the border.

    Returns
    -------
    float or array
        A length; broadcast.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> round(softmax_bias(bandwidth=0.1, num_codes=8) / (0.01 / 4 * 0.08 * np.log(2)), 12)
    np.float64(1.0)
    """
    owner = "softmax_bias"
    tau, num_codes = _positive(owner, "bandwidth", bandwidth) ** 2, integers(owner, "num_codes", num_codes, 2)
    weight = num_codes * reals(owner, "strength", strength, 0)
    above = np.maximum(weight, 2)  # where the weight is cut off at 1 next to the border
    area = np.where(weight <= 2, weight * np.log(2), np.log(above - 1) + above * np.log(above / (above - 1)))
    return plain(tau / 4 * reals(owner, "density", density, 0) * area)


def _positive(owner: str, name: str, values: Any) -> np.ndarray:
    return reals(owner, name, values, 0, above=True)
