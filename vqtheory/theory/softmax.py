"""How far a softmax over the dot products with all codes is open, as in IBQ (Shi et al., arXiv 2412.02692); derived here.

Of codes from N(0, I_D) and a latent x the similarities x . c_k / T are K independent normal numbers with the spread
beta = |x| / T: the random energy model (Derrida 1981) at the inverse temperature beta. With p = softmax(beta g) and the mean
free energy G(beta) = E ln sum_k e^(beta g_k), exactly and at any K,

    E H(p) = G - beta G',      E x . sum_k p_k c_k = |x| G'.

Latents from N(0, I_D) make the second, by Stein's lemma, the trace of the encoder's Jacobian: E tr Cov_p(c) / T = E |x| G'.

A Gumbel number added to each term makes G + 0.5772 the mean of the largest of K independent sums beta g_k + u_k, and G' the
mean of the g that belongs to it. Both are integrals over the distribution of one sum.

For large K there is a freezing transition: G = ln K + beta^2 / 2 up to beta = sqrt(2 ln K), and beta sqrt(2 ln K) from there
on. With |x|^2 = D and T = 1 the entropy is ln K - D / 2 up to D = 2 ln K, and beyond it is o(ln K): a few codes, whatever K
is. The gain is 1 up to there, and sqrt(2 ln K / D) beyond. At the same dimension codes begin to win themselves, since the
largest of the products with another code is |c| sqrt(2 ln K), and the product with itself |c|^2. At any K only the two
largest terms count for large beta, and the entropy falls as 1 / beta.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from vqtheory._base import check
from vqtheory.theory._arguments import closed_form

_FROZEN = 1e5  # beta from which on the entropy falls as 1 / beta; as a difference of large numbers it would be rounding
_STEP = 0.1  # of the trapezoids, whose error falls exponentially
_NORMAL = np.arange(-12, 12 + _STEP / 2, _STEP)
_GUMBEL = np.arange(-5, 45, _STEP)


class SoftPath(NamedTuple):
    """A softmax over dot products, at its start."""

    effective_codes: float  # exp of the mean entropy of a latent's softmax, 1 to K
    gain: float  # mean of the trace of the encoder's Jacobian over D; 1 for the straight-through estimator
    self_assigned: float  # share of the codes that have their largest dot product with themselves


@closed_form
def soft_path(num_codes: int, dim: int, temperature: float = 1.0) -> SoftPath:
    """What passes through the softmax of IBQ at its published start, codes and latents from N(0, I_D).

    Parameters
    ----------
    num_codes : int
        K.
    dim : int
        D.
    temperature : float, default 1
        T > 0 of the softmax.

    Returns
    -------
    SoftPath
        `effective_codes`, `gain` and `self_assigned`.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> for dim in (8, 32, 64, 256):
    ...     path = soft_path(16_384, dim)
    ...     print(dim, *(round(value, 3) for value in path))
    8 462.481 0.937 0.056
    32 9.019 0.656 0.985
    64 3.5 0.483 1.0
    256 1.64 0.247 1.0
    """
    num_codes = check.integer("soft_path", "num_codes", num_codes, 1, 2**53)
    dim = check.integer("soft_path", "dim", dim, 1, 2**53)
    temperature = check.real("soft_path", "temperature", temperature, 0, above=True)
    lengths, shares = _lengths(dim)
    cooled = np.minimum(1, _FROZEN * temperature / lengths)
    betas = cooled * lengths / temperature
    energies = np.array([_free_energy(beta, num_codes) for beta in betas])
    entropy = shares @ (cooled * (energies[:, 0] - betas * energies[:, 1]))
    gain = shares @ (lengths * energies[:, 1]) / dim
    alone = shares @ np.exp((num_codes - 1) * special.log_ndtr(lengths))
    return SoftPath(float(np.exp(np.clip(entropy, 0, np.log(num_codes)))), float(gain), float(alone))


def _lengths(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of latents from N(0, I_D), and the weights of a mean over them."""
    law = stats.chi(dim)
    low, high = law.ppf(1e-14), law.isf(1e-14)
    nodes, weights = np.polynomial.legendre.leggauss(32)
    lengths = low + (high - low) * (nodes + 1) / 2
    shares = weights * law.pdf(lengths)
    return lengths, shares / shares.sum()


def _free_energy(beta: float, num_codes: int) -> tuple[float, float]:
    """G and G'."""
    least, most = (
        special.ndtri(np.exp(-37 / num_codes)),
        -special.ndtri(1e-17 / num_codes),
    )  # of the largest g, all but surely
    step = _STEP * max(1.0, beta / 10)
    y = np.arange(beta * least - 5, beta * most + 45 + np.log(num_codes), step)
    above, density, carried = (_over_gumbel if beta > 1 else _over_normal)(y, beta)
    largest = num_codes * np.exp((num_codes - 1) * np.log1p(-np.minimum(above, 1 - 1e-16)))
    return float((y * largest * density).sum() * step - np.euler_gamma), float((largest * carried).sum() * step)


def _over_normal(y: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a sum beta g + u: P(sum > y), its density, and that times the mean of g given the sum; by an integral over g."""
    decay = np.exp(beta * _NORMAL - y[:, None])
    density, weights = decay * np.exp(-decay), _bell(_NORMAL) * _STEP
    return -np.expm1(-decay) @ weights, density @ weights, density @ (weights * _NORMAL)


def _over_gumbel(y: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by an integral over u, which is the smooth one for large beta."""
    g, decay = (y[:, None] - _GUMBEL) / beta, np.exp(-_GUMBEL)
    density, weights = _bell(g) / beta, decay * np.exp(-decay) * _STEP
    return special.ndtr(-g) @ weights, density @ weights, (density * g) @ weights


def _bell(g: np.ndarray) -> np.ndarray:
    return np.exp(-g * g / 2) / np.sqrt(2 * np.pi)
