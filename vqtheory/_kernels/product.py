"""The nearest code at the speed of a matrix product: the product proposes, the direct sum decides.

Seen from a centre m, with y = x - m and z_k = c_k - m,

    |x - c_k|^2 = |y|^2 + |z_k|^2 - 2 y z_k,

and one product gives the last term for a block of samples and all codes. Its rounding depends on the
shapes and the machine, so it only bounds the direct sum of `assign.find_nearest` from below. Codes
whose bound lies above the best direct sum so far are left out; the others are compared by the direct
sum in its fixed order, ties to the lowest index. What is found are the same bits as without the product.

The bound. Let u be half the spacing of numbers at 1 and g_n = n u / (1 - n u). A sum of n products is
off by at most g_n times the sum of their sizes, in any order, with fused operations or without. With
r = |y| + |z| the computed |y|^2 + (|z|^2 - 2 y z) is off by g_(D+1) r^2. Subtracting the centre is off by
u |y| and u |z|, which moves a squared distance by g_2 r^2 at most. The direct sum is off by g_(D+2) of
itself, at most g_(D+4) r^2. Forming and comparing the bounds rounds six times more. Since
r^2 <= 2 |y|^2 + 2 |z|^2, all together

    direct sum >= |y|^2 + |z|^2 - 2 y z - 2 g_(2D+13) (|y|^2 + |z|^2),

each code with its own |z|, so that one that was left far behind does not loosen the bounds of the others.
As long as D u < 0.05, 2.5 (D + 8) u in place of g_(2D+13) also covers that |y| and |z| are computed. Below
the smallest normal number errors are absolute, fewer than 4 D such numbers. Where a square comes near to
overflow there is no bound, and the direct sum is taken to all codes.

Prices p_k multiply the squared distances of their codes. Then the product is that of (-2 y, |y|^2) and (p z, p), which has
one term more, and |z|^2 is multiplied by p: the constants above cover that for prices up to 1, and down to the smallest
normal number over the spacing at 1, so that what p z loses below that number is lost in the rounding of p |y|^2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg  # noqa: F401 - numba's products call its BLAS: loaded here, it can be held to one thread

from vqtheory._kernels.jit import inlined_kernel, kernel

BLOCK = 64  # samples in a product where codes move: BLAS runs at nearly its full speed, and few codes move in a block
_STANDING = 128  # and where they stand
CHUNK = 4  # codes with one bound; their direct sums are taken side by side
_GROUP = 16  # chunks with one bound
_WHOLE = 2**18  # numbers of a codebook of which a copy seen from the centre is kept
_PANEL = 2**17  # numbers in the part of a larger one that is copied at a time
_PRODUCT = 2**19  # bytes of results at a time: they are read again at once


def worthwhile(codes: np.ndarray, least: int = 512) -> bool:
    """Whether the product is faster than the direct sum for codes [K, D], as measured; both find the same bits.

    From `least` codes on it always is: 512 where the codes move with every sample, 256 where they stay for a batch.
    """
    num_codes, dim = codes.shape
    return (num_codes >= least or (num_codes >= 64 and codes.size >= 2**13)) and dim * np.finfo(codes.dtype).eps < 0.1


STANDING, BY_STEP, BY_WINS = range(3)  # the clocks of `Gains`


class Gains(NamedTuple):
    """By how much of its distance to a sample a code moves that has won it."""

    clock: int  # STANDING: not at all; BY_STEP: by updates; BY_WINS: by the wins of the code itself
    rates: np.ndarray  # by update, or by count of wins
    offsets: np.ndarray  # int64 [K], where in `rates` the counts of each code begin; read by BY_WINS only


class Proposals(NamedTuple):
    """What the product says of a block of b samples, and its workspace."""

    centre: np.ndarray  # [D]
    low: np.ndarray  # [K], |z|^2 less its share of the bound's error; inf near overflow
    slack: np.ndarray  # [b], by how much a bound may exceed the best direct sum; inf near overflow
    chunks: np.ndarray  # [K / 4, b], the least |z|^2 - 2 y z in each four codes
    groups: np.ndarray  # [K / 64, b], and in each 16 chunks
    y_t: np.ndarray  # [D b], -2 y; with prices [(D + 1) b], and |y|^2
    panel: np.ndarray  # [K or fewer, D], z; with prices [K or fewer, D + 1], p z and p
    product: np.ndarray  # [K or fewer b], of the two
    squares: np.ndarray  # [4, D], work
    prices: np.ndarray  # [K], or empty where each is 1


@kernel
def new_proposals(x, codes, prices, block):
    """Proposals for blocks of x [N, D] of at most `block` samples, seen from the mean of the first."""
    (num_codes, dim), terms = codes.shape, codes.shape[1] + (len(prices) > 0)
    size, number = min(block, len(x)), x.dtype
    num_chunks, per_group = (num_codes - 1) // CHUNK + 1, CHUNK * _GROUP
    rows = max(1, _PRODUCT // (size * x.itemsize * per_group)) * per_group
    if codes.size > _WHOLE:
        rows = min(rows, max(1, _PANEL // (dim * per_group)) * per_group)
    rows = min(rows, num_codes)
    proposals = Proposals(
        np.zeros(dim, number),
        np.empty(num_codes, number),
        np.empty(size, number),
        np.empty((num_chunks, size), number),
        np.empty(((num_chunks - 1) // _GROUP + 1, size), number),
        np.empty(terms * size, number),
        np.empty((num_codes if codes.size <= _WHOLE else rows, terms), number),
        np.empty(rows * size, number),
        np.empty((CHUNK, dim), number),
        prices,
    )
    for s in range(size):
        for d in range(dim):
            proposals.centre[d] += x[s, d] / number.type(size)
    find_squares(proposals.centre.reshape((1, dim)), 0, codes, proposals.low)
    lower(dim, proposals.low)
    for k in range(len(prices)):
        proposals.low[k] *= prices[k]
    if len(proposals.panel) == num_codes:
        subtract(codes, proposals.centre, prices, proposals.panel)
    return proposals


@kernel
def propose(x, codes, proposals):
    """IN x [b, D], codes [K, D]; OUT the proposals for this block."""
    (size, dim), centre, panel = x.shape, proposals.centre, proposals.panel
    y_t = proposals.y_t[: panel.shape[1] * size].reshape((panel.shape[1], size))
    find_slack(x, proposals, y_t[-1])
    for s in range(size):
        for d in range(dim):
            y_t[d, s] = (centre[d] - x[s, d]) * x.dtype.type(2)
    rows = len(proposals.product) // len(proposals.slack)
    for first in range(0, len(codes), rows):
        part = panel[first : first + rows] if len(panel) == len(codes) else panel[: len(codes) - first]
        if len(panel) < len(codes):
            subtract(codes[first : first + len(part)], centre, proposals.prices[first:], part)
        product = proposals.product[: len(part) * size].reshape((len(part), size))
        np.dot(part, y_t, product)
        chunk = first // CHUNK
        take_minima(product, proposals.low[first:], proposals.chunks[chunk:], proposals.groups[chunk // _GROUP :])


@kernel
def find_slack(x, proposals, own):
    """IN x [b, D]; OUT slack: -|y|^2 and its share of the bound's error; with prices `own` [b] has that, and is |y|^2."""
    dim, info, slack = x.shape[1], np.finfo(x.dtype), proposals.slack
    share, least = x.dtype.type(2.5 * (dim + 8) * info.eps - 1), x.dtype.type(4 * dim * info.tiny)
    find_squares(proposals.centre.reshape((1, dim)), 0, x, slack)
    bounded = True
    for k in range(len(proposals.low)):
        bounded &= proposals.low[k] < np.inf
    for s in range(len(x)):
        within, own[s] = bounded and slack[s] < info.max / 16, -share * slack[s]
        slack[s] = (-own[s] if len(proposals.prices) == 0 else 0) + least if within else np.inf


@kernel
def lower(dim, squares):
    """IN/OUT squares |z|^2, less their share of the bound's error."""
    info = np.finfo(squares.dtype)
    keep, most = squares.dtype.type(1 - 2.5 * (dim + 8) * info.eps), info.max / 16
    for k in range(len(squares)):
        squares[k] = squares[k] * keep if squares[k] < most else np.inf


@kernel
def subtract(codes, centre, prices, z):
    """OUT z [K, D]: codes seen from the centre; with prices [K, D + 1], times them and a column of them."""
    (num_codes, dim), priced = codes.shape, len(prices) > 0
    for k in range(num_codes):
        for d in range(dim):
            z[k, d] = codes[k, d] - centre[d]
        if priced:
            z[k, dim] = 1
            z[k] *= prices[k]


@kernel
def take_minima(product, low, chunks, groups):
    """IN -2 y z [codes, b] and low of these codes and further ones; OUT the least bounds of chunks and groups."""
    last, per_group = len(product) - 1, CHUNK * _GROUP
    groups[: last // per_group + 1] = np.inf
    for k in range(0, last + 1, CHUNK):
        k1, k2, k3 = min(k + 1, last), min(k + 2, last), min(k + 3, last)
        p0, p1, p2, p3 = product[k], product[k1], product[k2], product[k3]
        l0, l1, l2, l3 = low[k], low[k1], low[k2], low[k3]
        chunk, group = chunks[k // CHUNK], groups[k // per_group]
        for s in range(product.shape[1]):
            a, b, c, e = p0[s] + l0, p1[s] + l1, p2[s] + l2, p3[s] + l3
            a, c = b if b < a else a, e if e < c else c
            a = c if c < a else a
            chunk[s] = a
            group[s] = a if a < group[s] else group[s]


@inlined_kernel
def four_squares(x, s, codes, k, squares):
    """Squared distances of x[s] to codes k .. k + 3, each summed in the order of the dimensions.

    Beyond the last code it stands in. squares [4, D] is work, filled dimensions side by side: the codes may be
    far from the cache.
    """
    for i in range(CHUNK):
        row = min(k + i, len(codes) - 1)
        for d in range(x.shape[1]):
            difference = x[s, d] - codes[row, d]
            squares[i, d] = difference * difference
    a, b, c, e = squares[0, 0], squares[1, 0], squares[2, 0], squares[3, 0]
    for d in range(1, x.shape[1]):
        a += squares[0, d]
        b += squares[1, d]
        c += squares[2, d]
        e += squares[3, d]
    return a, b, c, e


@kernel
def find_squares(x, s, codes, distances):
    """OUT distances [K], the squared distances of x[s] to codes [K, D]."""
    squares = np.empty((CHUNK, x.shape[1]), x.dtype)
    for k in range(0, len(codes), CHUNK):
        four = four_squares(x, s, codes, k, squares)
        for i in range(min(CHUNK, len(codes) - k)):
            distances[k + i] = four[i]


@kernel
def search(x, s, codes):
    """The code nearest to x[s] and its squared distance, by the direct sum to all of them."""
    distances, best = np.empty(len(codes), x.dtype), 0
    find_squares(x, s, codes, distances)
    for k in range(1, len(codes)):
        if distances[k] < distances[best]:
            best = k
    return best, distances[best]


@kernel
def search_cheapest(x, s, codes, prices):
    """The same by squared distances times prices [K]."""
    costs = np.empty(len(codes), x.dtype)
    find_squares(x, s, codes, costs)
    costs *= prices
    best = np.argmin(costs)
    return best, costs[best]


@kernel
def decide(x, weight, gains, update, hits, codes, proposals, assignment, squared):
    """Find the codes of a block's samples; unless they stand, each moves its code before the next is looked at.

    IN x, weight [b], gains, the update of the first sample; IN/OUT hits, codes, proposals; OUT assignment,
    squared [b]. A code that has moved gets a bound where it now is, by a product with the block's
    samples; that of where it was stays in the minimum of its chunk, which it can only loosen. It is one long
    function because a call, inlined or not, counts references to its arrays, which costs as much as a decision.
    """
    (num_codes, dim), size, zero, one = codes.shape, len(x), x.dtype.type(0), x.dtype.type(1)
    (clock, rates, offsets), (centre, low, slack, chunks, groups) = gains, proposals[:5]
    y_t, panel, squares = proposals.y_t[: dim * size].reshape((dim, size)), proposals.panel, proposals.squares
    z, bound, last, per_group = np.empty(dim, x.dtype), np.empty(size, x.dtype), num_codes - 1, CHUNK * _GROUP
    prices, priced = proposals.prices, len(proposals.prices) > 0
    for s in range(size):
        best, closest = num_codes, x.dtype.type(np.inf)
        if slack[s] < np.inf:
            group = 0
            for g in range(1, len(groups)):
                if groups[g, s] < groups[group, s]:
                    group = g
            first = _GROUP * group
            for j in range(_GROUP * group + 1, min(_GROUP * (group + 1), len(chunks))):
                if chunks[j, s] < chunks[first, s]:
                    first = j
            for g in range(-1, len(groups)):  # the most promising chunk, and then all within its distance
                if g >= 0 and groups[g, s] > closest + slack[s]:
                    continue
                begin, end = (first, first + 1) if g < 0 else (_GROUP * g, min(_GROUP * (g + 1), len(chunks)))
                for j in range(begin, end):
                    if g >= 0 and (j == first or chunks[j, s] > closest + slack[s]):
                        continue
                    k = CHUNK * j
                    a, b, c, e = four_squares(x, s, codes, k, squares)
                    if priced:
                        a, b = a * prices[k], b * prices[min(k + 1, last)]
                        c, e = c * prices[min(k + 2, last)], e * prices[min(k + 3, last)]
                    if a < closest or (a == closest and k < best):
                        best, closest = k, a
                    if b < closest or (b == closest and k + 1 < best):
                        best, closest = min(k + 1, last), b
                    if c < closest or (c == closest and k + 2 < best):
                        best, closest = min(k + 2, last), c
                    if e < closest or (e == closest and k + 3 < best):
                        best, closest = min(k + 3, last), e
        else:
            best, closest = search_cheapest(x, s, codes, prices) if priced else search(x, s, codes)
        assignment[s], squared[s] = best, closest
        if clock == STANDING:
            continue

        if clock == BY_WINS:
            gain, share = weight[s] * rates[offsets[best] + hits[best]], one
        else:
            gain, share = rates[update + s], weight[s]
        hits[best] += 1
        for d in range(dim):
            codes[best, d] += gain * (zero + share * (x[s, d] - codes[best, d]))
            z[d] = codes[best, d] - centre[d]
            if len(panel) == num_codes:
                panel[best, d] = z[d]
        a = b = c = e = zero
        for d in range(0, dim - 3, 4):
            a += z[d] * z[d]
            b += z[d + 1] * z[d + 1]
            c += z[d + 2] * z[d + 2]
            e += z[d + 3] * z[d + 3]
        for d in range(dim - dim % 4, dim):
            a += z[d] * z[d]
        low[best] = (a + b) + (c + e)
        lower(dim, low[best : best + 1])
        if not low[best] < np.inf:
            slack[:] = np.inf
        start = (s + 1) & -16  # whole vectors; what is behind is decided
        bound[:] = 0
        for d in range(dim % 8):
            for i in range(size - start):
                bound[start + i] += z[d] * y_t[d, start + i]
        for d in range(dim % 8, dim, 8):
            z0, z1, z2, z3, z4, z5, z6, z7 = z[d], z[d + 1], z[d + 2], z[d + 3], z[d + 4], z[d + 5], z[d + 6], z[d + 7]
            for i in range(size - start):
                n = start + i
                a, b = z0 * y_t[d, n] + z1 * y_t[d + 1, n], z2 * y_t[d + 2, n] + z3 * y_t[d + 3, n]
                c, e = z4 * y_t[d + 4, n] + z5 * y_t[d + 5, n], z6 * y_t[d + 6, n] + z7 * y_t[d + 7, n]
                bound[n] += (a + b) + (c + e)
        moved, j, g = low[best], best // CHUNK, best // per_group
        for i in range(size - start):
            a = bound[start + i] + moved
            chunks[j, start + i] = a if a < chunks[j, start + i] else chunks[j, start + i]
            groups[g, start + i] = a if a < groups[g, start + i] else groups[g, start + i]


@kernel
def find_all(x, codes, assignment, squared):
    """IN x [N, D], codes [K, D]; OUT the nearest code of each sample, and its squared distance."""
    find_cheapest(x, codes, np.empty(0, x.dtype), assignment, squared)


@kernel
def find_cheapest(x, codes, prices, assignment, squared):
    """The same by squared distances times prices [K], which are at most 1, or without them where there are none."""
    proposals, none, nowhere = new_proposals(x, codes, prices, _STANDING), np.empty(0, x.dtype), np.empty(0, np.int64)
    gains = Gains(STANDING, none, nowhere)
    for first in range(0, len(x), _STANDING):
        block = x[first : first + _STANDING]
        propose(block, codes, proposals)
        decide(block, none, gains, first, nowhere, codes, proposals, assignment[first:], squared[first:])


@kernel
def follow(x, weight, gains, hits, codes, assignment, squared):
    """One sample per update: IN x [T, D], weight [T], gains; IN/OUT hits, codes [K, D]; OUT the code of each sample and
    its squared distance before it moved it."""
    proposals = new_proposals(x, codes, np.empty(0, x.dtype), BLOCK)
    for first in range(0, len(x), BLOCK):
        block = x[first : first + BLOCK]
        propose(block, codes, proposals)
        decide(block, weight[first:], gains, first, hits, codes, proposals, assignment[first:], squared[first:])
