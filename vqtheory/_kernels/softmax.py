"""The softmax over all codes, for a block of latents at a time.

Its arrays are [K, b], code by code, so that sums over codes run for all latents of a block at once. In few dimensions they
are summed directly; in more they come from products of what is seen from the mean of the latents. A squared distance is then
off by a few roundings of |y|^2, and where that is not small beside the temperature, it is summed directly too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import kernel

_LEAST = 64  # latents in a block
_KEPT = 2**20  # latents by codes that are one block, whose scores are found once
_FEW = 16  # dimensions
_COARSE = 2.0**-8  # of the temperature, the most by which a product's squared distances may be off


def block_size(batch_size: int, num_codes: int) -> int:
    """How many latents of a batch are softened at a time."""
    return max(1, min(batch_size, max(_LEAST, _KEPT // num_codes)))


class Work(NamedTuple):
    """Workspace; flat where a smaller block at the end is to lie side by side too."""

    begin: np.ndarray  # [1], the first latent of the block whose scores are in the first array; -1 for none
    direct: np.ndarray  # bool [1], whether scores and moves are summed directly
    turned: np.ndarray  # [D b]
    pairs: np.ndarray  # [arrays, K b]
    highest: np.ndarray  # [b], the largest score of a latent
    total: np.ndarray  # [b], its sum of exponentials
    mean: np.ndarray  # [b], a mean by its softmax
    factor: np.ndarray  # [b]
    sums: np.ndarray  # [K, D]


def workspace(batch_size: int, codes: np.ndarray, arrays: int) -> Work:
    """Work for batches of this size and codes [K, D], with so many arrays of latents by codes."""
    (num_codes, dim), size = codes.shape, block_size(batch_size, len(codes))
    shapes = (dim * size,), (arrays, num_codes * size), (size,), (size,), (size,), (size,), (num_codes, dim)
    return Work(np.array([-1]), np.array([dim <= _FEW]), *(np.empty(shape, codes.dtype) for shape in shapes))


@kernel
def centre(x, weight, codes, temperature, work, y, z):
    """OUT y [B, D] and z [K, D]: latents and codes seen from the mean of the latents that have a weight; or as they are, if
    a product is too coarse for the temperature. There are no scores of them."""
    (size, dim), (zero, one) = x.shape, (x.dtype.type(0), x.dtype.type(1))
    work.begin[0], counted = -1, max(one, x.dtype.type((weight > 0).sum()))
    for d in range(dim):
        middle = zero
        for b in range(size):
            middle += x[b, d] / counted if weight[b] > 0 else zero
        for b in range(size):
            y[b, d] = x[b, d] - middle if weight[b] > 0 else zero
        for k in range(len(codes)):
            z[k, d] = codes[k, d] - middle
    farthest = zero
    for b in range(size):
        square = zero
        for d in range(dim):
            square += y[b, d] * y[b, d]
        farthest = max(farthest, square)
    work.direct[0] = dim <= _FEW or not 2 * np.sqrt(dim) * np.finfo(x.dtype).eps * farthest <= _COARSE * temperature
    if work.direct[0]:
        y[:], z[:] = x, codes


@kernel
def pairs(work, place, num_codes, size):
    """One of the arrays [K, b]."""
    return work.pairs[place, : num_codes * size].reshape((num_codes, size))


@kernel
def transpose(x, work):
    """x [b, D], dimension by dimension: [D, b]."""
    size, dim = x.shape
    turned = work.turned[: dim * size].reshape((dim, size))
    for s in range(size):
        for d in range(dim):
            turned[d, s] = x[s, d]
    return turned


@kernel
def score(x, first, codes, by_distance, work):
    """Scores [K, b] of a block of x [B, D] that begins at `first`: x . c, or -|x - c|^2 up to a number for each latent.

    They are found unless they are there from before: `work.begin` is set to -1 where codes or latents are others.
    """
    block = x[first : first + len(work.highest)]
    scores = pairs(work, 0, len(codes), len(block))
    if work.begin[0] == first:
        return scores
    work.begin[0] = first
    turned = transpose(block, work)
    if work.direct[0]:
        _score_directly(turned, codes, by_distance, scores)
        return scores
    np.dot(codes, turned, scores)
    if by_distance:
        _negate_distances(codes, scores)
    return scores


@kernel
def multiply(x, codes, work, values):
    """OUT values [K, b]: x . c of x [b, D] and codes [K, D]."""
    np.dot(codes, transpose(x, work), values)


@kernel
def _score_directly(turned, codes, by_distance, scores):
    scores[:] = 0
    for k in range(len(codes)):
        for d in range(len(turned)):
            code = codes[k, d]
            if by_distance:
                for s in range(turned.shape[1]):
                    gap = turned[d, s] - code
                    scores[k, s] -= gap * gap
            else:
                for s in range(turned.shape[1]):
                    scores[k, s] += turned[d, s] * code


@kernel
def _negate_distances(codes, scores):
    """IN/OUT scores x . c become 2 x . c - |c|^2."""
    for k in range(len(codes)):
        square = codes.dtype.type(0)
        for d in range(codes.shape[1]):
            square += codes[k, d] * codes[k, d]
        for s in range(scores.shape[1]):
            scores[k, s] = (scores[k, s] + scores[k, s]) - square


@kernel
def find_highest(scores, work):
    """In work the largest of each latent's scores [K, b]."""
    highest = work.highest
    highest[:] = -np.inf
    for k in range(len(scores)):
        for s in range(scores.shape[1]):
            highest[s] = max(highest[s], scores[k, s])


@kernel
def find_winners(scores, work, winner):
    """OUT winner [b]: the first code with the largest of a latent's scores [K, b]."""
    find_highest(scores, work)
    winner[:] = 0  # where no score is a number
    for k in range(len(scores) - 1, -1, -1):
        for s in range(scores.shape[1]):
            winner[s] = k if scores[k, s] == work.highest[s] else winner[s]


@kernel
def soften(scores, temperature, work, power):
    """OUT power [K, b] and in work its sums: softmax(scores / temperature) is power / total."""
    find_highest(scores, work)
    exponentiate(scores, temperature, work, power)


@kernel
def exponentiate(scores, temperature, work, power):
    """`soften` of scores whose largest are in work."""
    highest, total = work.highest, work.total
    total[:] = 0
    for k in range(len(scores)):
        for s in range(scores.shape[1]):
            power[k, s] = exponential((scores[k, s] - highest[s]) / temperature)
            total[s] += power[k, s]


@kernel
def find_use(x, weight, codes, by_distance, temperature, work, use):
    """OUT use [K]: ln of the mean of the softmax over latents x [B, D], 0 where that is 0; the second array in work has the
    softmax of the last block."""
    mass, zero, size = weight.sum(), x.dtype.type(0), len(work.highest)
    mass = mass if mass > 0 else x.dtype.type(1)
    use[:] = 0
    for first in range(0, len(x), size):
        scores = score(x, first, codes, by_distance, work)
        power = pairs(work, 1, *scores.shape)
        soften(scores, temperature, work, power)
        for s in range(scores.shape[1]):
            work.factor[s] = weight[first + s] / mass / work.total[s]
        use += np.dot(power, work.factor[: scores.shape[1]])
    for k in range(len(use)):
        use[k] = np.log(use[k]) if use[k] > 0 else zero


@kernel
def find_surprise(scores, temperature, use, work, power, surprise):
    """OUT surprise [K, b]: ln p_k - use_k up to a number for each latent, 0 where p is 0; and in work its mean by p."""
    highest, mean, zero = work.highest, work.mean, scores.dtype.type(0)
    mean[:] = 0
    for k in range(len(scores)):
        for s in range(scores.shape[1]):
            log = (scores[k, s] - highest[s]) / temperature - use[k]
            surprise[k, s] = log if power[k, s] > 0 else zero
            mean[s] += power[k, s] * surprise[k, s]
    for s in range(scores.shape[1]):
        mean[s] /= work.total[s]


@kernel
def find_mean(values, work, power):
    """In work the mean of values [K, b] by the softmax."""
    mean = work.mean
    mean[:] = 0
    for k in range(len(values)):
        for s in range(values.shape[1]):
            mean[s] += power[k, s] * values[k, s]
    for s in range(values.shape[1]):
        mean[s] /= work.total[s]


@kernel
def weigh(strength, weight, values, work, power):
    """IN/OUT power [K, b] becomes strength w p (values - their mean)."""
    factor, mean, zero = work.factor, work.mean, power.dtype.type(0)
    for s in range(power.shape[1]):
        factor[s] = strength * weight[s] / work.total[s]
    for k in range(len(power)):
        for s in range(power.shape[1]):
            force = power[k, s] * (values[k, s] - mean[s]) * factor[s]
            power[k, s] = force if power[k, s] > 0 else zero


@kernel
def add_moves(force, x, codes, by_distance, work, moves):
    """Added to moves [K, D]: sum_s force_ks x_s, or force_ks (x_s - c_k), of force [K, b] and x [b, D]."""
    if by_distance and work.direct[0]:
        for k in range(len(codes)):
            for s in range(len(x)):
                for d in range(codes.shape[1]):
                    moves[k, d] += force[k, s] * (x[s, d] - codes[k, d])
        return
    np.dot(force, x, work.sums)
    mass = np.zeros(len(codes), codes.dtype)
    if by_distance:
        work.factor[:] = 1
        np.dot(force, work.factor[: len(x)], mass)
    for k in range(len(codes)):
        for d in range(codes.shape[1]):
            moves[k, d] += work.sums[k, d] - mass[k] * codes[k, d]
