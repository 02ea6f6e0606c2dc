"""Steps out of a local optimum of k-means: Hartigan's exchange of single latents, and swaps of codes.

Moving a latent x from its cell a, of n_a latents, to a cell b moves both means, and changes the sum of squared
distances to the means by exactly

    n_b / (n_b + 1) |x - m_b|^2  -  n_a / (n_a - 1) |x - m_a|^2

(Hartigan 1975). Where no such move lowers the sum, Lloyd's algorithm stands still too, but not the other way round
(Telgarsky and Vattani 2010). A swap puts one code on a latent, both at random, and is kept if exchanges from there
end lower (Franti 2018).
"""

from __future__ import annotations

import numpy as np

from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory.assign import nearest
from vqtheory.reference._optimum import Optimum

ROUNDING = 1e-12  # a gain below this share of a latent's own cost may be rounding
MOST_PASSES = 10_000  # over all latents; rounding could send one to and fro for ever


def swap(latents: np.ndarray, codes: np.ndarray, swaps: int, random: np.random.Generator) -> Optimum:
    """The best codebook of exchanges from `codes`, and from so many swaps."""
    best = exchange(latents, codes)
    for _ in range(swaps):
        swapped = best.codes.copy()
        swapped[random.integers(len(codes))] = latents[random.integers(len(latents))]
        best = min(best, exchange(latents, swapped), key=lambda optimum: optimum.distortion)
    return best


def exchange(latents: np.ndarray, codes: np.ndarray) -> Optimum:
    """Where exchanges lead from the cells of `codes`: each code is the mean of its cell."""
    assignment, _ = nearest(latents, codes)
    counts = np.bincount(assignment, minlength=len(codes))
    codes = _means(latents, assignment, counts, codes)
    _exchange(latents, assignment, counts, codes)
    codes = _means(latents, assignment, counts, codes)
    return Optimum(codes, float(np.mean(nearest(latents, codes)[1])))


def _means(latents: np.ndarray, assignment: np.ndarray, counts: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The mean of each cell; the code itself where the cell is empty."""
    offsets = latents - codes[assignment]  # so that a far cell's mean keeps the digits of its width
    sums = np.stack([np.bincount(assignment, column, len(codes)) for column in offsets.T], axis=1)
    return codes + sums / np.maximum(counts, 1)[:, None]


@inlined_kernel
def _squared(latent, code):
    total = 0.0
    for d in range(len(latent)):
        total += (latent[d] - code[d]) ** 2
    return total


@kernel
def _exchange(latents, assignment, counts, codes):
    """Move latents one by one to the cell that lowers the scatter most, until a whole pass moves none.

    IN latents [N, D]; IN OUT assignment [N], counts [K], and codes [K, D], the means of the cells.
    """
    size = len(latents)
    unmoved = 0
    for visit in range(MOST_PASSES * size):
        if unmoved == size:
            return
        n = visit % size
        unmoved += 1
        old = assignment[n]
        if counts[old] < 2:
            continue
        least = counts[old] / (counts[old] - 1) * _squared(latents[n], codes[old]) * (1 - ROUNDING)
        new = old
        for k in range(len(codes)):
            cost = counts[k] / (counts[k] + 1) * _squared(latents[n], codes[k])
            if k != old and cost < least:
                least, new = cost, k
        if new != old:
            for d in range(latents.shape[1]):
                codes[old, d] -= (latents[n, d] - codes[old, d]) / (counts[old] - 1)
                codes[new, d] += (latents[n, d] - codes[new, d]) / (counts[new] + 1)
            counts[old] -= 1
            counts[new] += 1
            assignment[n] = new
            unmoved = 0
