"""Squared distances of a batch to all codes, in rows, each less a number of its own latent: by products, or summed directly.

Seen from a centre m, with y = x - m and z_k = c_k - m,

    |x - c_k|^2 - |y|^2 = |z_k|^2 - 2 y z_k,

one product of (y, 1) and (-2 z_k, |z_k|^2) for a block of latents and all codes: what a softmax over codes needs. It is off by
a few roundings of |y|^2 + |z_k|^2. For codes farther from the centre than two times the latent this is of the size of their
distance, as in the direct sum; for the others it is at most five times |y|^2, and `precise` says whether that is too much.

Rows end with infinities up to a multiple of 64, so that loops over 64 places become vector instructions without a rest. The
rows of a whole batch are kept while they are few; those of a larger one are made anew, block by block, by who asks for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqtheory._kernels.cells import find_nearest
from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory._kernels.product import find_squares

LANES = 64
BLOCK = 64  # latents in a product, for which BLAS runs at nearly its full speed
_KEPT = 2**25  # bytes of rows that are kept
_ROUNDING = 64  # the product's error in units of eps |y|^2, at most


class Scores(NamedTuple):
    """Rows of a batch of B latents, or of a block, and what they are made from."""

    values: np.ndarray  # [B or BLOCK, K to the next multiple of 64]
    base: np.ndarray  # [B], what distances are above the values: |y|^2, or 0
    centre: np.ndarray  # [D]
    lifted: np.ndarray  # [as values, D + 1], (-2 z, |z|^2)
    samples: np.ndarray  # [BLOCK, D + 1], (y, 1)
    codes_t: np.ndarray  # [D, K]
    lanes: np.ndarray  # [64], work


def new_scores(batch_size: int, codes: np.ndarray) -> Scores:
    """Scores for batches of this size and codes [K, D]."""
    (num_codes, dim), number = codes.shape, codes.dtype
    width = padded(num_codes)
    rows = batch_size if batch_size * width * number.itemsize <= _KEPT else BLOCK
    lifted = np.zeros((width, dim + 1), number)
    lifted[num_codes:, dim] = np.inf
    return Scores(
        np.full((rows, width), np.inf, number),
        np.zeros(batch_size, number),
        np.zeros(dim, number),
        lifted,
        np.ones((BLOCK, dim + 1), number),
        np.empty((dim, num_codes), number),
        np.empty(LANES, number),
    )


def padded(num_codes: int) -> int:
    """The length of a row."""
    return -(-num_codes // LANES) * LANES


@kernel
def look(x, codes, by_product, scores):
    """IN x [B, D], codes [K, D] that have moved; returns a number that no squared distance is above."""
    (num_codes, dim), centre, lifted = codes.shape, scores.centre, scores.lifted
    size, squares = min(BLOCK, len(x)), np.empty(num_codes, x.dtype)
    centre[:] = 0
    for b in range(size):
        for d in range(dim):
            centre[d] += x[b, d] / x.dtype.type(size)
    find_squares(centre.reshape((1, dim)), 0, x, scores.base)
    find_squares(centre.reshape((1, dim)), 0, codes, squares)
    farthest = (scores.base.max() + squares.max()) * x.dtype.type(2)
    if by_product:
        for k in range(num_codes):
            for d in range(dim):
                lifted[k, d] = (centre[d] - codes[k, d]) * x.dtype.type(2)
            lifted[k, dim] = squares[k]
    else:
        scores.base[:] = 0
        scores.codes_t[:] = codes.T
    return farthest


@kernel
def precise(epsilon, scores):
    """Whether the product, of these latents, is off by less than rounding of the scale epsilon."""
    eps = np.finfo(scores.base.dtype).eps
    return _ROUNDING * eps * scores.base.max() <= np.sqrt(eps) * epsilon


@kernel
def rows_of(x, first, by_product, anew, scores):
    """The rows of a block of x [B, D] that begins with latent `first`; made `anew` where they are not kept."""
    block, values = x[first : first + BLOCK], scores.values
    kept = len(values) == len(x)
    rows = values[first : first + BLOCK] if kept else values[: len(block)]
    if anew or not kept:
        if by_product:
            samples = scores.samples[: len(block)]
            for b in range(len(block)):
                for d in range(x.shape[1]):
                    samples[b, d] = block[b, d] - scores.centre[d]
            np.dot(samples, scores.lifted.T, rows)
        else:
            for b in range(len(block)):
                find_nearest(block[b], scores.codes_t, rows[b])
    return rows


@inlined_kernel
def least_priced(rows, b, prices, lanes):
    """min_k of rows[b] less prices, both of whole lanes."""
    lanes[:] = np.inf
    for first in range(0, rows.shape[1], LANES):
        for k in range(LANES):
            value = rows[b, first + k] - prices[first + k]
            lanes[k] = value if value < lanes[k] else lanes[k]
    width = LANES
    while width > 1:
        width //= 2
        for k in range(width):
            lanes[k] = lanes[k + width] if lanes[k + width] < lanes[k] else lanes[k]
    return lanes[0]


@inlined_kernel
def total_of(lanes):
    """The sum of lanes, which are used up."""
    width = LANES
    while width > 1:
        width //= 2
        for k in range(width):
            lanes[k] += lanes[k + width]
    return lanes[0]
