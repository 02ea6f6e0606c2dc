"""Squared distances of a batch to all codes, in rows, each less a number of its own latent: by products, or summed directly.

Seen from a centre m, with y = x - m and z_k = c_k - m,

    |x - c_k|^2 - |y|^2 = |z_k|^2 - 2 y z_k,

one product of (y, 1) and (-2 z_k, |z_k|^2) for a block of latents and all codes. It is off by a few roundings of
|y|^2 + |z_k|^2. For codes farther from the centre than two times the latent this is of the size of their distance, as in the
direct sum; for the others it is at most five times |y|^2, and `precise` says whether that is too much.

The rows of a whole batch are kept while they are few; those of a larger one are made anew, block by block, for each sweep.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqtheory._kernels.cells import find_nearest
from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory._kernels.product import find_squares

_KEPT = 2**25  # bytes of rows that are kept
_BLOCK = 2**20  # and of a block, which a core's own cache holds
_LEAST = 64  # latents in a block, for which BLAS runs at nearly its full speed
_ROUNDING = 2  # the product's error in units of eps |y|^2 sqrt(D), with some room


class Scores(NamedTuple):
    """Rows of a batch of B latents, or of one block of b, and what they are made from."""

    rows: np.ndarray  # [B or b, K]
    base: np.ndarray  # [B], what is left out of a row: |y|^2, or 0
    centre: np.ndarray  # [D]
    lifted: np.ndarray  # [K, D + 1], (-2 z, |z|^2)
    samples: np.ndarray  # [b, D + 1], (y, 1)
    codes_t: np.ndarray  # [D, K]
    squares: np.ndarray  # [K], |z|^2


def new_scores(batch_size: int, codes: np.ndarray) -> Scores:
    """Scores for batches of this size and codes [K, D]."""
    (num_codes, dim), number = codes.shape, codes.dtype
    size = num_codes * number.itemsize
    block = min(batch_size, max(_LEAST, _BLOCK // size))
    return Scores(
        np.empty((batch_size if batch_size * size <= _KEPT else block, num_codes), number),
        np.empty(batch_size, number),
        np.empty(dim, number),
        np.empty((num_codes, dim + 1), number),
        np.ones((block, dim + 1), number),
        np.empty((dim, num_codes), number),
        np.empty(num_codes, number),
    )


@kernel
def look(x, codes, by_product, scores):
    """IN x [B, D], codes [K, D] that have moved; returns a number that no squared distance is above."""
    (num_codes, dim), (_, base, centre, lifted, samples, codes_t, squares) = codes.shape, scores
    centre[:] = 0
    for b in range(len(samples)):
        for d in range(dim):
            centre[d] += x[b, d] / x.dtype.type(len(samples))
    find_squares(centre.reshape((1, dim)), 0, x, base)
    find_squares(centre.reshape((1, dim)), 0, codes, squares)
    farthest = (base.max() + squares.max()) * x.dtype.type(2)
    if by_product:
        for k in range(num_codes):
            for d in range(dim):
                lifted[k, d] = (centre[d] - codes[k, d]) * x.dtype.type(2)
            lifted[k, dim] = squares[k]
    else:
        base[:] = 0
        codes_t[:] = codes.T
    return farthest


@kernel
def precise(least, epsilon, scores):
    """Whether products are off by less than rounding of the scale epsilon, for latents with this mean of least distances."""
    dim, eps = len(scores.centre), np.finfo(scores.base.dtype).eps
    return _ROUNDING * np.sqrt(dim) * eps * (scores.base.max() + least) <= np.sqrt(eps) * epsilon


@inlined_kernel
def rows_of(x, first, by_product, anew, scores):
    """The rows of a block of x [B, D] that begins with latent `first`; made `anew` where they are not kept."""
    block, kept = len(scores.samples), len(scores.rows) == len(x)
    rows = scores.rows[first : first + block] if kept else scores.rows[: len(x) - first]
    if anew or not kept:
        _fill(x[first : first + block], by_product, scores, rows)
    return rows


@kernel
def _fill(x, by_product, scores, rows):
    """OUT rows of x [b, D]."""
    if not by_product:
        for b in range(len(x)):
            find_nearest(x[b], scores.codes_t, rows[b])
        return
    samples = scores.samples[: len(x)]
    for b in range(len(x)):
        for d in range(x.shape[1]):
            samples[b, d] = x[b, d] - scores.centre[d]
    np.dot(samples, scores.lifted.T, rows)


@inlined_kernel
def least_priced(rows, b, prices, work):
    """min_k of rows[b] less prices [K]. By halves, because in one number each comparison waits for the one before it."""
    for k in range(len(prices)):
        work[k] = rows[b, k] - prices[k]
    width = len(prices)
    while width > 1:
        half = width // 2
        for k in range(half):
            work[k] = work[k] if work[k] < work[k + half] else work[k + half]
        if width % 2:
            work[0] = work[0] if work[0] < work[width - 1] else work[width - 1]
        width = half
    return work[0]


@inlined_kernel
def total_of(work):
    """The sum of work [K], which is used up; by halves."""
    width = len(work)
    while width > 1:
        half = width // 2
        for k in range(half):
            work[k] += work[k + half]
        if width % 2:
            work[0] += work[width - 1]
        width = half
    return work[0]
